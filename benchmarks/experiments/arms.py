"""The arms of an experiment: ways to learn a concept, by the library's own training, without services."""

import time
from dataclasses import dataclass

from app.domain.base import Value
from app.domain.base_models import DEFAULT_NEUTRAL_PROMPTS, BaseModelManifest
from app.domain.jobs import Phase
from app.domain.strategies import AnyStrategy
from app.domain.training import TrainingOptions
from benchmarks.experiments.concepts import Concept
from worker.adapters.accumulated import ChainLink
from worker.models.base import Base
from worker.training.loop import train
from worker.training.task import TrainingTask


class Arm(Value):
    """One way to learn: a strategy with its options, and how each adapter is trained."""

    strategy: AnyStrategy
    training: TrainingOptions


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
    prompt = concept.taught(token).instance_prompt()
    task = TrainingTask(
        images=concept.training,
        instance_prompt=prompt,
        training=arm.training,
        strategy=arm.strategy,
        chain=chain,
        adapted_modules=arm.training.adapted_modules or manifest.adapted_modules,
        neutral_prompts=manifest.neutral_prompts or DEFAULT_NEUTRAL_PROMPTS,
    )
    began = time.perf_counter()
    trained = train(base, task, _Unheard(), None)
    seconds = time.perf_counter() - began
    link = ChainLink(arm.strategy, trained.adapter, prompt, trained.strategy_state)
    return Learned(link, trained.final_loss, seconds)
