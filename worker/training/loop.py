"""Training one adapter: DreamBooth (arXiv 2208.12242) with LoRA, on top of whatever the strategy lays beneath.

Every random number comes from the task's own CPU generators, in a fixed order; so at a fixed thread count the same job
gives the same adapter on the CPU, bit for bit, however often it was interrupted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from app.domain.errors import NotFiniteError
from app.domain.jobs import Phase
from worker.adapters.accumulated import applied
from worker.adapters.injected import injected
from worker.models.base import Base
from worker.models.projections import adapted_projections, projection_shape
from worker.strategies.base import NewTask, Start
from worker.strategies.extra_loss import ExtraLoss
from worker.strategies.registry import strategy_of
from worker.strategies.replay import replay
from worker.strategies.scene import Scene, Setting
from worker.training.checkpoint import Checkpoint, capture, parse, restore, task_digest
from worker.training.data import encode
from worker.training.lesson import Lesson
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
    hooks.phase(Phase.ENCODING)

    def tick() -> None:
        hooks.step(0 if checkpoint is None else checkpoint.step, task.training.steps, None)

    lesson = Lesson(base, encode(base, task, tick))
    setting = _setting(base, task, lesson, tick)
    start = _start(task, setting, generator)
    alpha = task.training.alpha or task.training.rank
    with (
        applied(base.denoiser, start.beneath) as beneath,
        injected(base.denoiser, start.factors, alpha, start.frozen_a) as adapter,
    ):
        scene = Scene(**vars(setting), adapter=adapter, beneath=beneath)
        extra_loss = start.extra_loss(scene)
        hooks.phase(Phase.TRAINING)
        session = open_session(adapter, task.training, generator, extra_loss.streams, base.device)
        final_loss = _Loop(task, hooks, digest, lesson, extra_loss).run(session, checkpoint)
        total = task.training.steps
        state = start.keep(replace(scene, tick=lambda: hooks.step(total, total, None)))
        trained = Trained(adapter.snapshot(), final_loss, {**start.notes, **extra_loss.notes()}, state)
    if not trained.adapter.is_finite():
        raise NotFiniteError(f"A factor is not finite after step {task.training.steps}.")
    return trained


def _setting(base: Base, task: TrainingTask, lesson: Lesson, tick: Callable[[], None]) -> Setting:
    return Setting(
        base=base,
        earlier_prompts=task.earlier_prompts(),
        neutral_prompts=task.neutral_prompts,
        resolution=task.training.resolution,
        concept_loss=lesson.loss,
        stream=task.generator,
        tick=tick,
    )


def _start(task: TrainingTask, setting: Setting, generator: torch.Generator) -> Start:
    projections = adapted_projections(setting.base.denoiser, task.adapted_modules)
    shapes = {name: projection_shape(projection) for name, projection in projections.items()}
    return strategy_of(task.strategy).start(replay(task.chain), NewTask(shapes, task.training, generator, setting))


@dataclass(frozen=True)
class _Loop:
    task: TrainingTask
    hooks: Hooks
    digest: str
    lesson: Lesson
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
        batch_loss = self.lesson.loss(self.task.training.batch_size, session.generator)
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
