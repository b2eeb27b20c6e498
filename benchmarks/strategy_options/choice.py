"""What an arm came to over the streams, and which of a strategy's options becomes its default."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from app.domain.base import Value
from app.domain.strategies import STRATEGIES, AnyStrategy, StrategyOptions
from benchmarks.experiments.scoring import Scores
from benchmarks.experiments.streams import StreamRun, line_of
from worker.evaluation.metrics import average_forgetting, plasticity, standard_errors


class Measured(Value):
    """An arm over all streams.

    `final` is the identity of each picture that the last versions draw, in the same order for every arm; `background`
    the share of them whose background is right. `seconds` are those of one training, on average.
    """

    strategy: AnyStrategy
    final: tuple[float, ...]
    background: float
    plasticity: float
    forgetting: float
    seconds: float

    @property
    def average_score(self) -> float:
        """`mean_j R[T][j]`, over all streams: all cells have equally many pictures."""
        return fmean(self.final)


def measured(strategy: StrategyOptions, runs: Sequence[StreamRun], bases: Sequence[StreamRun]) -> Measured:
    """The runs under that strategy, a stream each, beside the base's on the same streams."""
    lines = [line_of(run, base) for run, base in zip(runs, bases, strict=True)]
    return Measured(
        strategy=strategy,
        final=identities(runs),
        background=fmean(value for cell in _last_cells(runs) for value in cell.background_right),
        plasticity=fmean(plasticity(line) for line in lines),
        forgetting=fmean(average_forgetting(line) for line in lines),
        seconds=fmean(value for run in runs for value in run.seconds),
    )


def identities(runs: Sequence[StreamRun]) -> tuple[float, ...]:
    """Of the pictures by the last versions, or by the base."""
    return tuple(value for cell in _last_cells(runs) for value in cell.identity)


def _last_cells(runs: Sequence[StreamRun]) -> list[Scores]:
    return [cell for run in runs for cell in run.rows[-1] if cell is not None]


class Difference(Value):
    """The mean of differences picture by picture, and its standard error over pictures."""

    mean: float
    error: float


def difference(one: Measured, other: Measured) -> Difference:
    """Of the average scores. The error knows nothing of how much other concepts and orders would differ."""
    pairs = np.subtract(one.final, other.final)
    return Difference(mean=float(pairs.mean()), error=float(standard_errors(pairs)))


def is_default(strategy: StrategyOptions) -> bool:
    """Whether all its options are the present defaults."""
    return _changes(strategy) == 0


def choose(candidates: Sequence[Measured]) -> Measured:
    """By the rule of one standard error (Breiman et al. 1984): of all that tie with the best, the least changed.

    A tie is a difference of average scores within its own standard error; among equally many changes the score decides.
    """
    best = max(candidates, key=lambda candidate: candidate.average_score)
    tied = [candidate for candidate in candidates if _ties(best, candidate)]
    return min(tied, key=lambda candidate: (_changes(candidate.strategy), -candidate.average_score))


def _ties(best: Measured, candidate: Measured) -> bool:
    lead = difference(best, candidate)
    return lead.mean <= lead.error


def _changes(strategy: StrategyOptions) -> int:
    """How many options differ from the present defaults."""
    present = STRATEGIES[strategy.name]()
    return sum(getattr(present, name) != value for name, value in strategy)
