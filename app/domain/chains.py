"""What a chain of versions comes to: which updates make D, and how each joins what lies beneath.

Torch replays a chain by these rules (`worker/strategies/replay.py`). So does the numpy export
(`app/adapter_files/folding.py`). Chains go from the oldest link to the newest.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from app.domain.strategies import Fold, StrategyOptions
from app.domain.training import TrainingOptions


@dataclass(frozen=True)
class Term:
    """One link's part in a module's D.

    `place` is the link's in the chain. A term that `selects` replaces an element of what lies beneath where its own is
    at least as large; any other is added.
    """

    place: int
    selects: bool


def surviving(chain: Sequence[StrategyOptions]) -> tuple[int, ...]:
    """The places of the links that count: of a run of a replacing strategy only the last one."""
    following = [*chain[1:], None]
    return tuple(
        place
        for place, (own, later) in enumerate(zip(chain, following, strict=True))
        if later is None or own.fold is not Fold.REPLACE or not is_same_run(own, later)
    )


def surviving_terms(chain: Sequence[tuple[StrategyOptions, Collection[str]]]) -> dict[str, tuple[Term, ...]]:
    """The terms of each module's D, by module, for links with these strategies and adapted modules.

    A link gives nothing to a module that it leaves alone. A module's first term has nothing to select against.
    """
    strategies = [strategy for strategy, _ in chain]
    terms: dict[str, list[Term]] = {}
    for place in surviving(strategies):
        selects = strategies[place].fold is Fold.SELECT
        for module in chain[place][1]:
            own = terms.setdefault(module, [])
            own.append(Term(place, selects=selects and bool(own)))
    return {module: tuple(terms[module]) for module in sorted(terms)}


def is_same_run(parent: StrategyOptions, own: StrategyOptions) -> bool:
    """Whether a version goes on with its parent's run: its strategy has the same name, with whatever options."""
    return parent.name == own.name and own.fold.makes_runs


def run_start(chain: Sequence[StrategyOptions]) -> int:
    """How many links lie beneath the run of the last one; the whole chain where its strategy makes no runs."""
    if not chain or not chain[-1].fold.makes_runs:
        return len(chain)
    first = len(chain) - 1
    while first > 0 and is_same_run(chain[first - 1], chain[first]):
        first -= 1
    return first


def first_choice(chain: Sequence[StrategyOptions]) -> int:
    """From which link of the chain on prompts choose which count; its length if they choose none."""
    first = len(chain)
    while first > 0 and chain[first - 1].fold is Fold.CHOOSE:
        first -= 1
    return first


def changed_within_run(
    parent: tuple[StrategyOptions, TrainingOptions] | None, own: tuple[StrategyOptions, TrainingOptions]
) -> tuple[str, ...]:
    """The training options that differ from the parent's although the strategy fixes them while its run goes on.

    A naive run trains on one adapter, whose shape cannot change on the way; a fresh adapter may have any shape.
    """
    if parent is None or not is_same_run(parent[0], own[0]):
        return ()
    return tuple(name for name in own[0].fixed_within_run if _meant(parent[1], name) != _meant(own[1], name))


def _meant(training: TrainingOptions, name: str) -> object:
    """What the option comes to: an alpha that is left out is the rank."""
    return training.scale * training.rank if name == "alpha" else getattr(training, name)
