"""Every strategy by its name in the API; a test holds this set equal to `app.domain.strategies.STRATEGIES`."""

from collections.abc import Callable
from typing import Any

from app.domain.strategies import StrategyOptions
from worker.strategies.c_lora import CLora
from worker.strategies.ewc import Ewc
from worker.strategies.isolated import Isolated
from worker.strategies.magnitude import Magnitude
from worker.strategies.merge import Merge
from worker.strategies.naive import Naive
from worker.strategies.null_space import NullSpace
from worker.strategies.orthogonal_merge import OrthogonalMerge
from worker.strategies.self_replay import SelfReplay
from worker.strategies.strategy import Strategy

# Each takes the options of its own name; the pairing is what the test holds.
ALGORITHMS: dict[str, Callable[[Any], Strategy]] = {
    "naive": Naive,
    "merge": Merge,
    "orthogonal_merge": OrthogonalMerge,
    "magnitude": Magnitude,
    "c_lora": CLora,
    "self_replay": SelfReplay,
    "null_space": NullSpace,
    "ewc": Ewc,
    "isolated": Isolated,
}


def strategy_of(options: StrategyOptions) -> Strategy:
    """The algorithm that these options configure."""
    return ALGORITHMS[options.name](options)
