"""First lessons that are one and the same under several strategies are trained once per process."""

from collections.abc import Callable
from dataclasses import replace

from app.domain.strategies import EwcOptions, SelfReplayOptions, StrategyOptions
from benchmarks.experiments.arms import Arm, Learned
from benchmarks.experiments.scoring import Scores

_KEPT = 4
_first: dict[tuple[str, ...], tuple[Learned, Scores]] = {}


def starts_as_merge(strategy: StrategyOptions) -> bool:
    """Whether its first task is that of `merge` to the byte, and leaves nothing beside the adapter."""
    if isinstance(strategy, SelfReplayOptions):
        return strategy.mu == 0
    return not isinstance(strategy, EwcOptions)


def shared(place: str, arm: Arm, learn: Callable[[], tuple[Learned, Scores]]) -> tuple[Learned, Scores]:
    """What `learn` gives, or what it gave to another arm with the same training options.

    `place` names all else that a lesson depends on: the base, the pictures and the concept.
    """
    if not starts_as_merge(arm.strategy):
        return learn()
    key = (place, arm.training.model_dump_json())
    if key not in _first:
        while len(_first) >= _KEPT:
            _first.pop(next(iter(_first)))
        _first[key] = learn()
    learned, scores = _first[key]
    return replace(learned, link=replace(learned.link, strategy=arm.strategy)), scores
