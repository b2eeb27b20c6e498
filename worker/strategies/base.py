"""What a strategy is: how a task starts on top of its parent version, and what it adds to the loss.

How what was learned joins D is the `fold` of its options (`app/domain/chains.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from app.domain.training import TrainingOptions
from worker.adapters.accumulated import LineageState, Update
from worker.adapters.factors import Factors
from worker.strategies.extra_loss import MakeExtraLoss, NoExtraLoss
from worker.strategies.scene import Scene, Setting

Shapes = Mapping[str, tuple[int, int]]
"""(d_out, d_in) of each adapted projection, by module path."""


def keeps_nothing(_: Scene) -> Mapping[str, Tensor]:
    """The adapter is all that the next task is told."""
    return {}


@dataclass(frozen=True)
class NewTask:
    """A task that is about to start: what it is to train and how, its random source, and the base it may ask.

    The CPU `generator` is the task's own, of which the training goes on to draw.
    """

    shapes: Shapes
    training: TrainingOptions
    generator: torch.Generator
    setting: Setting

    def fresh_factors(self) -> dict[str, Factors]:
        """Those of a task that starts from nothing; drawn from the generator."""
        return fresh_factors(self.shapes, self.training.rank, self.generator)


@dataclass(frozen=True)
class Start:
    """How a task starts: what lies frozen beneath (the base computes with `W0 + beneath`), and the initial factors.

    In the modules of `frozen_a`, A stays as it is and only B is trained. `notes` are figures about the start that go
    into the version's provenance. `extra_loss` makes what the strategy adds to the loss. `keep`, called after the last
    step, makes what the next task is to be told beside the adapter: `strategy_state`, a few small named tensors.
    """

    beneath: Update
    factors: dict[str, Factors]
    frozen_a: frozenset[str] = frozenset()
    notes: Mapping[str, float] = field(default_factory=dict)
    extra_loss: MakeExtraLoss = NoExtraLoss
    keep: Callable[[Scene], Mapping[str, Tensor]] = keeps_nothing


class Strategy(Protocol):
    """One continual strategy with its options; stateless, and blind to databases, HTTP and model families."""

    def start(self, parent: LineageState, task: NewTask) -> Start:
        """How a task on top of `parent` starts.

        Raises:
            InvalidInputError: the task cannot go on from this parent with these training options.
        """


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
