"""What a strategy may add to the loss of each step, and what it is given to make that of.

An extra loss draws from random streams of its own, so it moves nothing that the task itself draws; a checkpoint holds
their states. Whatever else it keeps has to come out the same when it is made again for a resumed training.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from worker.adapters.accumulated import AppliedUpdate
from worker.adapters.injected import LiveAdapter
from worker.models.base import Base


@dataclass(frozen=True)
class Scene:
    """A task once its adapter is on the base: the student, and what lies beneath it.

    `stream` gives a new CPU generator, the same for the same name each time the task is run. `tick` is to be called
    while nothing else shows that the job goes on; it may raise to stop it. `resolution` is in pixels a side.
    """

    base: Base
    adapter: LiveAdapter
    beneath: AppliedUpdate
    earlier_prompts: tuple[str, ...]
    neutral_prompts: tuple[str, ...]
    resolution: int
    stream: Callable[[str], torch.Generator]
    tick: Callable[[], None]

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


class ExtraLoss(Protocol):
    """What is added to the loss, made once per task."""

    @property
    def streams(self) -> Mapping[str, torch.Generator]:
        """The sources of all that `of_step` draws, by name."""

    def of_step(self) -> Tensor | None:
        """This step's addition, a scalar in fp32; None leaves the loss as it is, bit for bit."""

    def notes(self) -> Mapping[str, float]:
        """Figures about the trained adapter, for the version's provenance."""


MakeExtraLoss = Callable[[Scene], ExtraLoss]
"""Called once per task, when the adapter is on the base and before the first step."""


class NoExtraLoss:
    """Adds nothing, as most strategies do."""

    streams: Mapping[str, torch.Generator] = MappingProxyType({})

    def __init__(self, scene: Scene) -> None:
        """All scenes are one to it."""

    def of_step(self) -> Tensor | None:
        return None

    def notes(self) -> Mapping[str, float]:
        return {}
