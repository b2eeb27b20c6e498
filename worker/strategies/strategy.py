"""What a strategy is: how a task starts on top of its parent version, and what it adds to the loss.

How what was learned joins D is the `fold` of its options (`app/domain/chains.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from worker.adapters.accumulated import LineageState, Update
from worker.adapters.factors import Factors
from worker.strategies.extra_loss import MakeExtraLoss, NoExtraLoss
from worker.strategies.task_context import AdaptedBase, TaskContext


def keeps_nothing(_: AdaptedBase) -> Mapping[str, Tensor]:
    """The next task needs only the adapter."""
    return {}


@dataclass(frozen=True)
class TaskStart:
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
    keep: Callable[[AdaptedBase], Mapping[str, Tensor]] = keeps_nothing


class Strategy(Protocol):
    """One continual strategy with its options. It is stateless, and knows no database, HTTP or model family."""

    def start(self, parent: LineageState, context: TaskContext) -> TaskStart:
        """How a task on top of `parent` starts.

        Raises:
            InvalidInputError: the task cannot go on from this parent with these training options.
        """
