"""What a strategy may ask of a task's surroundings: the base, the new concept's loss, prompts, random streams.

All of it is within the regime: the parent version, the images of the new concept, and stored texts.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.adapters.accumulated import AppliedUpdate
from worker.adapters.injected import LiveAdapter
from worker.models.base import Base


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A task before its adapter is on the base, which computes with W0.

    `concept_loss(size, generator)` is the loss, a scalar in fp32, of so many of the new concept's images, drawn with
    their noises and timesteps from `generator`, under the base as it computes just now. `stream` gives a new CPU
    generator, the same for the same name each time the task is run. `tick` is to be called while nothing else shows
    that the job goes on; it may raise to stop it. `resolution` is in pixels a side.
    """

    base: Base
    earlier_prompts: tuple[str, ...]
    neutral_prompts: tuple[str, ...]
    resolution: int
    concept_loss: Callable[[int, torch.Generator], Tensor]
    stream: Callable[[str], torch.Generator]
    tick: Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Scene(Setting):
    """A task once its adapter is on the base: the student, and what lies beneath it."""

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
