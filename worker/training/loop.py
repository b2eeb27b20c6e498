"""Training one adapter: DreamBooth (arXiv 2208.12242) with LoRA, on top of whatever the strategy lays beneath.

Every random number comes from the task's own CPU generators, in a fixed order; so at a fixed thread count the same job
gives the same adapter on the CPU, bit for bit, however often it was interrupted.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from app.domain.errors import NotFiniteError
from app.domain.jobs import Phase
from worker.adapters.accumulated import AppliedUpdate, applied
from worker.adapters.injected import LiveAdapter, injected
from worker.models.base import Base
from worker.models.projections import adapted_projections, projection_shape
from worker.strategies.base import Start
from worker.strategies.extra_loss import ExtraLoss, Scene
from worker.strategies.registry import strategy_of
from worker.strategies.replay import replay
from worker.training.checkpoint import Checkpoint, capture, parse, restore, task_digest
from worker.training.data import Encoded, encode
from worker.training.session import Session, open_session
from worker.training.task import Hooks, Trained, TrainingTask


def train(base: Base, task: TrainingTask, hooks: Hooks, resume_from: bytes | None) -> Trained:
    """Learn the task's concept; the base is bit for bit the same afterwards, whatever happens.

    Raises:
        CheckpointError: `resume_from` is not a checkpoint of this very task.
        InvalidInputError: the training options do not fit the base or the parent version.
        NotFiniteError: a loss, a gradient or a factor is not finite.
    """
    digest = task_digest(base, task)
    checkpoint = None if resume_from is None else parse(resume_from, digest)
    generator = task.generator()
    start = _start(base, task, generator)
    prepare = _Preparation(base, task, hooks, 0 if checkpoint is None else checkpoint.step)
    hooks.phase(Phase.ENCODING)
    encoded = encode(base, task, prepare.tick)
    alpha = task.training.alpha or task.training.rank
    with (
        applied(base.denoiser, start.beneath) as beneath,
        injected(base.denoiser, start.factors, alpha, start.trains_a) as adapter,
    ):
        extra_loss = prepare.extra_loss(start, adapter, beneath)
        hooks.phase(Phase.TRAINING)
        session = open_session(adapter, task.training, generator, extra_loss.streams, base.device)
        final_loss = _Loop(base, task, hooks, digest, encoded, extra_loss).run(session, checkpoint)
        trained = Trained(adapter.snapshot(), final_loss, {**start.notes, **extra_loss.notes()})
    if not trained.adapter.is_finite():
        raise NotFiniteError(f"A factor is not finite after step {task.training.steps}.")
    return trained


def _start(base: Base, task: TrainingTask, generator: torch.Generator) -> Start:
    projections = adapted_projections(base.denoiser, task.adapted_modules)
    shapes = {name: projection_shape(projection) for name, projection in projections.items()}
    return strategy_of(task.strategy).start(replay(task.chain), shapes, task.training, generator)


@dataclass(frozen=True)
class _Preparation:
    """What comes before the first step that is still to do."""

    base: Base
    task: TrainingTask
    hooks: Hooks
    done: int

    def tick(self) -> None:
        self.hooks.step(self.done, self.task.training.steps, None)

    def extra_loss(self, start: Start, adapter: LiveAdapter, beneath: AppliedUpdate) -> ExtraLoss:
        task = self.task
        scene = Scene(
            base=self.base,
            adapter=adapter,
            beneath=beneath,
            earlier_prompts=task.earlier_prompts(),
            neutral_prompts=task.neutral_prompts,
            resolution=task.training.resolution,
            stream=task.generator,
            tick=self.tick,
        )
        return start.extra_loss(scene)


@dataclass(frozen=True)
class _Loop:
    base: Base
    task: TrainingTask
    hooks: Hooks
    digest: str
    encoded: Encoded
    extra_loss: ExtraLoss

    def run(self, session: Session, checkpoint: Checkpoint | None) -> float:
        """All steps that are still to do; returns the loss of the last one."""
        done, loss = 0, math.nan
        if checkpoint is not None:
            restore(session, checkpoint)
            done, loss = checkpoint.step, checkpoint.loss
        total = self.task.training.steps
        for step in range(done + 1, total + 1):
            loss = self._step(session, step)
            self.hooks.step(step, total, loss)
            if self.hooks.wants_checkpoint():
                self.hooks.save_checkpoint(capture(session, step, loss, self.digest), step)
        return loss

    def _step(self, session: Session, step: int) -> float:
        batch_loss = self._loss(session.generator)
        extra = self.extra_loss.of_step()
        if extra is not None:
            batch_loss = batch_loss + extra
        loss = float(batch_loss.detach())
        if not math.isfinite(loss):
            raise NotFiniteError(f"The loss is not finite at step {step} of {self.task.training.steps}.")
        norm = session.update(batch_loss, self.task.training.max_grad_norm)
        if not math.isfinite(norm):
            raise NotFiniteError(f"The gradient is not finite at step {step} of {self.task.training.steps}.")
        return loss

    def _loss(self, generator: torch.Generator) -> Tensor:
        """The mean squared error, in fp32, of one batch drawn with replacement."""
        size = self.task.training.batch_size
        indices = torch.randint(len(self.task.images), (size,), generator=generator)
        latents = self.encoded.latents.rows(indices).sample(generator)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        timesteps = self.base.sample_timesteps(size, generator)
        noisy = self.base.add_noise(latents, noise, timesteps)
        conditioning = self.encoded.conditioning.rows(indices)
        model_pred = self.base.predict(noisy, timesteps, conditioning)
        return F.mse_loss(model_pred.float(), self.base.target(latents, noise, timesteps).float())
