"""Training one adapter: DreamBooth (arXiv 2208.12242) with LoRA, on top of whatever the strategy lays beneath.

Every random number comes from the task's own CPU generators, in a fixed order; so at a fixed thread count the same job
gives the same adapter on the CPU, bit for bit, however often it was interrupted.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

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
from worker.training.lesson import Batch, Lesson
from worker.training.memory import Memory
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
        memory = Memory(task.training.batch_size)
        final_loss = _Loop(task, hooks, digest, lesson, extra_loss, memory).run(session, checkpoint)
        total = task.training.steps
        state = start.keep(replace(scene, tick=lambda: hooks.step(total, total, None)))
        notes = {**start.notes, **extra_loss.notes(), **memory.notes()}
        trained = Trained(adapter.snapshot(), final_loss, notes, state)
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


@dataclass
class _Loop:
    task: TrainingTask
    hooks: Hooks
    digest: str
    lesson: Lesson
    extra_loss: ExtraLoss
    memory: Memory

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
        batch = self.lesson.draw(self.task.training.batch_size, session.generator)
        streams = {name: stream.get_state() for name, stream in session.streams.items()}

        def update(part_size: int) -> float:
            for name, state in streams.items():
                session.streams[name].set_state(state)
            return self._update(session, step, batch, part_size)

        return self.memory.fit(update)

    def _update(self, session: Session, step: int, batch: Batch, part_size: int) -> float:
        """One optimizer step; returns the loss."""
        parts: list[float] = []

        def losses() -> Iterator[Tensor]:
            for part in self._losses(batch, part_size):
                parts.append(float(part.detach()))
                if not math.isfinite(parts[-1]):
                    raise NotFiniteError(f"The loss is not finite at step {step} of {self.task.training.steps}.")
                yield part

        norm = session.update(losses(), self.task.training.max_grad_norm)
        if not math.isfinite(norm):
            raise NotFiniteError(f"The gradient is not finite at step {step} of {self.task.training.steps}.")
        return sum(parts)

    def _losses(self, batch: Batch, part_size: int) -> Iterator[Tensor]:
        """What adds up to the step's loss: in one where it fits into memory, bit for bit the sum that it always was."""
        if part_size >= len(batch):
            whole, extra = batch.loss(), self.extra_loss.of_step()
            yield whole if extra is None else whole + extra
            return
        for part in batch.parts(part_size):
            yield part.loss() * (len(part) / len(batch))
        if (extra := self.extra_loss.of_step()) is not None:
            yield extra
