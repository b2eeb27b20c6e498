"""What a strategy may use while it learns a task, before its adapter is on the base and afterwards.

All of it is within the regime: the parent version, the images of the new concept, and stored texts.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from app.domain.training import TrainingOptions
from worker.adapters.accumulated import AppliedUpdate
from worker.adapters.factors import Factors
from worker.adapters.injected import LiveAdapter
from worker.models.base import Base

Shapes = Mapping[str, tuple[int, int]]
"""(d_out, d_in) of each adapted projection, by module path."""


@dataclass(frozen=True, kw_only=True)
class TaskContext:
    """A task before its adapter is on the base, which computes with W0.

    `generator` is the task's own, on the CPU; the training goes on to draw from it. `stream` gives another CPU
    generator, the same for the same name each time the task runs. `concept_loss(size, generator)` is the loss, a scalar
    in fp32, of `size` of the new concept's images under the base as it computes now; images, noises and timesteps are
    drawn from `generator`. Call `tick` while nothing else shows that the job goes on; it may raise to stop the job.
    """

    base: Base
    shapes: Shapes
    training: TrainingOptions
    generator: torch.Generator
    earlier_prompts: tuple[str, ...]
    neutral_prompts: tuple[str, ...]
    concept_loss: Callable[[int, torch.Generator], Tensor]
    stream: Callable[[str], torch.Generator]
    tick: Callable[[], None]

    def fresh_factors(self) -> dict[str, Factors]:
        """The factors of a task that starts from nothing; drawn from `generator`."""
        return fresh_factors(self.shapes, self.training.rank, self.generator)


@dataclass(frozen=True)
class AdaptedBase:
    """The base with the task's adapter on it: what is trained, and what lies frozen beneath."""

    context: TaskContext
    adapter: LiveAdapter
    beneath: AppliedUpdate

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Within it the base computes with what lies frozen beneath: under a strategy that merges, as the parent."""
        with torch.no_grad(), self.adapter.bypassed():
            yield

    @contextmanager
    def as_base(self) -> Iterator[None]:
        """Within it the base computes as itself, with W0."""
        with self.without_adapter(), self.beneath.lifted():
            yield


def fresh_factors(shapes: Shapes, rank: int, generator: torch.Generator) -> dict[str, Factors]:
    """A ~ N(0, (1/r)^2), PEFT's "gaussian", and B = 0: the update starts at zero.

    Drawn in fp32 in the sorted order of the modules, so that a seed gives the same factors on every device.
    """
    return {
        name: Factors(
            a=torch.randn((rank, shapes[name][1]), generator=generator) / rank,
            b=torch.zeros((shapes[name][0], rank)),
        )
        for name in sorted(shapes)
    }
