"""What a strategy may add to the loss of each step.

An extra loss draws from random streams of its own, so it moves nothing that the task itself draws; a checkpoint holds
their states. Whatever else it keeps has to come out the same when it is made again for a resumed training.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from worker.strategies.task_context import AdaptedBase


class ExtraLoss(Protocol):
    """What is added to the loss, made once per task."""

    @property
    def streams(self) -> Mapping[str, torch.Generator]:
        """The sources of all that `of_step` draws, by name."""

    def of_step(self) -> Tensor | None:
        """This step's addition, a scalar in fp32; None leaves the loss as it is, bit for bit."""

    def notes(self) -> Mapping[str, float]:
        """Figures about the trained adapter, for the version's provenance."""


MakeExtraLoss = Callable[[AdaptedBase], ExtraLoss]
"""Called once per task, when the adapter is on the base and before the first step."""


class NoExtraLoss:
    """Adds nothing, as most strategies do."""

    streams: Mapping[str, torch.Generator] = MappingProxyType({})

    def __init__(self, adapted: AdaptedBase) -> None:
        """All scenes are one to it."""

    def of_step(self) -> Tensor | None:
        return None

    def notes(self) -> Mapping[str, float]:
        return {}
