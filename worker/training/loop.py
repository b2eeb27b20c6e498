"""Training one adapter: DreamBooth (arXiv 2208.12242) with LoRA, on top of what the strategy puts beneath.

Every random number comes from the task's own CPU generators, in a fixed order. So at a fixed thread count the same job
gives the same adapter on the CPU, bit for bit, interrupted or not.
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
from worker.models.micro_batches import MicroBatches
from worker.models.projections import adapted_projections, projection_shape
from worker.strategies.extra_loss import ExtraLoss
from worker.strategies.registry import strategy_of
from worker.strategies.replay import replay
from worker.strategies.task_context import AdaptedBase, TaskContext
from worker.training.checkpoint import Checkpoint, capture, parse, restore, task_digest
from worker.training.concept_dataset import Batch, ConceptDataset
from worker.training.data import encode
from worker.training.train_state import TrainState, new_train_state
from worker.training.training_task import Hooks, Trained, TrainingTask


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

    dataset = ConceptDataset(base, encode(base, task, tick))
    context = _context(base, task, dataset, generator, tick)
    start = strategy_of(task.strategy).start(replay(task.chain), context)
    alpha = task.training.alpha or task.training.rank
    with (
        applied(base.denoiser, start.beneath) as beneath,
        injected(base.denoiser, start.factors, alpha, start.frozen_a) as adapter,
    ):
        adapted = AdaptedBase(context, adapter, beneath)
        extra_loss = start.extra_loss(adapted)
        hooks.phase(Phase.TRAINING)
        state = new_train_state(adapter, task.training, generator, extra_loss.streams, base.device)
        micro_batches = MicroBatches(task.training.batch_size)
        final_loss = _Loop(task, hooks, digest, dataset, extra_loss, micro_batches).run(state, checkpoint)
        total = task.training.steps
        done = replace(context, tick=lambda: hooks.step(total, total, None))
        strategy_state = start.keep(replace(adapted, context=done))
        notes = {**start.notes, **extra_loss.notes(), **micro_batches.notes()}
        trained = Trained(adapter.snapshot(), final_loss, notes, strategy_state)
    if not trained.adapter.is_finite():
        raise NotFiniteError(f"A factor is not finite after step {task.training.steps}.")
    return trained


def _context(
    base: Base, task: TrainingTask, dataset: ConceptDataset, generator: torch.Generator, tick: Callable[[], None]
) -> TaskContext:
    projections = adapted_projections(base.denoiser, task.adapted_modules)
    return TaskContext(
        base=base,
        shapes={name: projection_shape(projection) for name, projection in projections.items()},
        training=task.training,
        generator=generator,
        earlier_prompts=task.earlier_prompts(),
        neutral_prompts=task.neutral_prompts,
        concept_loss=dataset.loss,
        stream=task.generator,
        tick=tick,
    )


@dataclass
class _Loop:
    task: TrainingTask
    hooks: Hooks
    digest: str
    dataset: ConceptDataset
    extra_loss: ExtraLoss
    micro_batches: MicroBatches

    def run(self, state: TrainState, checkpoint: Checkpoint | None) -> float:
        """All steps that are still to do; returns the loss of the last one."""
        done, loss = 0, math.nan
        if checkpoint is not None:
            restore(state, checkpoint)
            done, loss = checkpoint.step, checkpoint.loss
        total = self.task.training.steps
        for step in range(done + 1, total + 1):
            loss = self._step(state, step)
            self.hooks.step(step, total, loss)
            if self.hooks.wants_checkpoint():
                self.hooks.save_checkpoint(capture(state, step, loss, self.digest), step)
        return loss

    def _step(self, state: TrainState, step: int) -> float:
        batch = self.dataset.draw(self.task.training.batch_size, state.generator)
        streams = {name: stream.get_state() for name, stream in state.streams.items()}

        def update(part_size: int) -> float:
            for name, before in streams.items():
                state.streams[name].set_state(before)
            return self._update(state, step, batch, part_size)

        return self.micro_batches.fit(update)

    def _update(self, state: TrainState, step: int, batch: Batch, part_size: int) -> float:
        """One optimizer step; returns the loss."""
        parts: list[float] = []

        def losses() -> Iterator[Tensor]:
            for part in self._losses(batch, part_size):
                parts.append(float(part.detach()))
                if not math.isfinite(parts[-1]):
                    raise NotFiniteError(f"The loss is not finite at step {step} of {self.task.training.steps}.")
                yield part

        norm = state.update(losses(), self.task.training.max_grad_norm)
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
