"""The arms of an experiment: ways to learn a concept, by the library's own training, without services."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from app.domain.base import Value
from app.domain.base_models import DEFAULT_NEUTRAL_PROMPTS, BaseModelManifest
from app.domain.jobs import Phase
from app.domain.strategies import AnyStrategy, MergeOptions
from app.domain.training import TrainingOptions
from benchmarks.experiments.concepts import Concept
from worker.adapters.accumulated import ChainLink
from worker.adapters.factors import to_bytes
from worker.adapters.injected import injected
from worker.adapters.strategy_state import state_to_bytes
from worker.models.base import Base, Conditioning, LatentDistribution
from worker.models.projections import adapted_projections, projection_shape
from worker.strategies.task_context import fresh_factors
from worker.training.concept_dataset import ConceptDataset
from worker.training.data import Encoded, encode
from worker.training.loop import train
from worker.training.train_state import new_train_state
from worker.training.training_task import TrainingTask


class Arm(Value):
    """One way to learn: a strategy with its options, and how each adapter is trained."""

    strategy: AnyStrategy
    training: TrainingOptions


class Together(Value):
    """All concepts learned in one training of one adapter, as nobody can who meets them one after another: a bound.

    `training.steps` are those of the whole: as many as the lessons of a stream have together are equally many.
    """

    together: TrainingOptions


class Itself(Value):
    """No model at all: the concepts' own icons are looked at, as they are or once through the base's autoencoder."""

    through_vae: bool


Taught = Arm | Together | Itself | None
"""What was done to the base before it drew; None: nothing."""


def default_training(manifest: BaseModelManifest) -> TrainingOptions:
    """What a lineage on this base trains by if nobody says otherwise."""
    own = TrainingOptions(resolution=manifest.resolution, adapted_modules=manifest.adapted_modules)
    return own.overridden(manifest.training_defaults)


@dataclass(frozen=True)
class Learned:
    """What a training made: the chain's next link, its last loss, and the wall time that it took in seconds."""

    link: ChainLink
    final_loss: float
    seconds: float

    @property
    def size(self) -> int:
        """Bytes that the version keeps: its adapter, and what its strategy keeps beside it."""
        state = self.link.strategy_state
        return len(to_bytes(self.link.adapter, {})) + (len(state_to_bytes(state)) if state else 0)


class _Unheard:
    """Hooks of a training that nobody watches: a benchmark's bars count trainings, not steps."""

    def phase(self, phase: Phase) -> None: ...

    def step(self, step: int, total_steps: int, loss: float | None) -> None: ...

    def wants_checkpoint(self) -> bool:
        return False

    def save_checkpoint(self, data: bytes, step: int) -> None: ...


def learn(
    base: Base,
    manifest: BaseModelManifest,
    concept: Concept,
    token: str,
    arm: Arm,
    chain: tuple[ChainLink, ...] = (),
) -> Learned:
    """Teach the concept on top of `chain` (oldest first; empty: the base), as a train job does."""
    task = _task(manifest, concept, token, arm, chain)
    began = time.perf_counter()
    trained = train(base, task, _Unheard(), None)
    seconds = time.perf_counter() - began
    link = ChainLink(arm.strategy, trained.adapter, (task.instance_prompt,), trained.strategy_state)
    return Learned(link, trained.final_loss, seconds)


def _task(
    manifest: BaseModelManifest, concept: Concept, token: str, arm: Arm, chain: tuple[ChainLink, ...]
) -> TrainingTask:
    return TrainingTask(
        images=concept.training,
        instance_prompt=concept.taught(token).instance_prompt(),
        training=arm.training,
        strategy=arm.strategy,
        chain=chain,
        adapted_modules=arm.training.adapted_modules or manifest.adapted_modules,
        neutral_prompts=manifest.neutral_prompts or DEFAULT_NEUTRAL_PROMPTS,
    )


def learn_together(
    base: Base, manifest: BaseModelManifest, concepts: Sequence[Concept], tokens: Sequence[str], arm: Together
) -> Learned:
    """Teach all concepts at once, from the base: each batch is drawn from all their images."""
    one = Arm(strategy=MergeOptions(), training=arm.together)
    tasks = [_task(manifest, concept, token, one, ()) for concept, token in zip(concepts, tokens, strict=True)]
    began = time.perf_counter()
    dataset = ConceptDataset(base, _joined([encode(base, task, lambda: None) for task in tasks]))
    generator = tasks[0].generator()
    projections = adapted_projections(base.denoiser, tasks[0].adapted_modules)
    shapes = {name: projection_shape(projection) for name, projection in projections.items()}
    factors = fresh_factors(shapes, arm.together.rank, generator)
    with injected(base.denoiser, factors, arm.together.alpha or arm.together.rank) as adapter:
        state = new_train_state(adapter, arm.together, generator, {}, base.device)
        for _ in range(arm.together.steps):
            loss = dataset.loss(arm.together.batch_size, generator)
            state.update([loss], arm.together.max_grad_norm)
        link = ChainLink(one.strategy, adapter.snapshot())
    return Learned(link, float(loss.detach()), time.perf_counter() - began)


def _joined(parts: Sequence[Encoded]) -> Encoded:
    """The images of all parts, each with the conditioning of its own prompt."""
    latents = LatentDistribution(
        torch.cat([part.latents.mean for part in parts]), torch.cat([part.latents.std for part in parts])
    )
    told = {
        name: torch.cat([part.conditioning.tensors[name] for part in parts]) for name in parts[0].conditioning.tensors
    }
    return Encoded(latents, Conditioning(told))
