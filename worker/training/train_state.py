"""The state of one training: everything that a step changes, and nothing else."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.scheduler import AcceleratedScheduler

from app.domain.training import TrainingOptions
from worker.adapters.injected import LiveAdapter
from worker.training.optimization import make_lr_scheduler, make_optimizer


@dataclass(frozen=True)
class TrainState:
    """The adapter in training, what updates it, and the job's own sources of randomness, CPU generators.

    `streams` are those of the strategy's extra loss, by name.
    """

    accelerator: Accelerator
    adapter: LiveAdapter
    optimizer: AcceleratedOptimizer
    lr_scheduler: AcceleratedScheduler
    generator: torch.Generator
    streams: Mapping[str, torch.Generator]

    def update(self, losses: Iterable[torch.Tensor], max_grad_norm: float) -> float:
        """One optimizer step down the gradient of the losses' sum; returns the gradient's norm before clipping.

        Each loss is asked for when the one before it is done with, and has freed its memory. If the norm is not finite,
        or a loss raises, nothing is changed.
        """
        parameters = self.adapter.trainable()
        self.optimizer.zero_grad()
        for loss in losses:
            self.accelerator.backward(loss)
        norm = float(self.accelerator.clip_grad_norm_(parameters, max_grad_norm))
        if math.isfinite(norm):
            self.optimizer.step()
            self.lr_scheduler.step()
        return norm


def new_train_state(
    adapter: LiveAdapter,
    training: TrainingOptions,
    generator: torch.Generator,
    streams: Mapping[str, torch.Generator],
    device: torch.device,
) -> TrainState:
    """The state at step 0."""
    # The base is where it belongs already; accelerate is to move nothing.
    accelerator = Accelerator(cpu=device.type == "cpu", device_placement=False, mixed_precision="no")
    optimizer = make_optimizer(adapter.trainable(), training)
    lr_scheduler = make_lr_scheduler(optimizer, training)
    optimizer, lr_scheduler = accelerator.prepare(optimizer, lr_scheduler)
    return TrainState(accelerator, adapter, optimizer, lr_scheduler, generator, streams)
