"""Training one adapter: DreamBooth (arXiv 2208.12242) with LoRA, on top of whatever the strategy lays beneath.

Every random number comes from the task's own CPU generator, in a fixed order; so at a fixed thread count the same job
gives the same adapter on the CPU, bit for bit, however often it was interrupted.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from app.domain.errors import NotFiniteError
from app.domain.jobs import Phase
from worker.adapters.accumulated import applied
from worker.adapters.injected import injected
from worker.models.base import Base
from worker.models.projections import adapted_projections, projection_shape
from worker.strategies.base import Start
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
    encoded = _encode(base, task, hooks, checkpoint)
    hooks.phase(Phase.TRAINING)
    alpha = task.training.alpha or task.training.rank
    with (
        applied(base.denoiser, start.beneath),
        injected(base.denoiser, start.factors, alpha, start.trains_a) as adapter,
    ):
        session = open_session(adapter, task.training, generator, base.device)
        final_loss = _Loop(base, task, hooks, digest, encoded).run(session, checkpoint)
        trained = Trained(adapter.snapshot(), final_loss, start.notes)
    if not trained.adapter.is_finite():
        raise NotFiniteError(f"A factor is not finite after step {task.training.steps}.")
    return trained


def _start(base: Base, task: TrainingTask, generator: torch.Generator) -> Start:
    projections = adapted_projections(base.denoiser, task.adapted_modules)
    shapes = {name: projection_shape(projection) for name, projection in projections.items()}
    return strategy_of(task.strategy).start(replay(task.chain), shapes, task.training, generator)


def _encode(base: Base, task: TrainingTask, hooks: Hooks, checkpoint: Checkpoint | None) -> Encoded:
    done = 0 if checkpoint is None else checkpoint.step
    hooks.phase(Phase.ENCODING)
    return encode(base, task, lambda: hooks.step(done, task.training.steps, None))


@dataclass(frozen=True)
class _Loop:
    base: Base
    task: TrainingTask
    hooks: Hooks
    digest: str
    encoded: Encoded

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
