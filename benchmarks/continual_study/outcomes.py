"""What a run came to, and what contestants differ by: paired run by run, with intervals over runs."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from app.domain.base import Value
from benchmarks.experiments.arms import Arm
from benchmarks.experiments.scoring import Judged
from benchmarks.experiments.streams import StreamRun, line_of
from benchmarks.statistics import Estimate
from benchmarks.statistics import mean as estimate
from worker.evaluation import metrics


class Outcome(Value):
    """One contestant on one stream. NaN where a figure makes no sense: of bounds that learn nothing in turn.

    final, learned, alone: per place in the stream; the score in the end, when just learned, and of the concept alone.
    seconds: of one training step by the wall, with all that its lesson takes beside the steps. size: bytes of the last
    version.
    """

    seed: int
    retention: float
    average_score: float
    plasticity: float
    forgetting: float
    papers_forgetting: float
    background: float
    seconds: float
    size: float
    final: tuple[float, ...]
    learned: tuple[float, ...]
    alone: tuple[float, ...]


def outcome(run: StreamRun, base: StreamRun, isolated: StreamRun, judge: Judged = Judged.FIRST) -> Outcome:
    """The run beside the base and each concept alone, on the same stream, as that judge sees them."""
    line = line_of(run, base, isolated, judge)
    in_turn = isinstance(run.arm, Arm)
    learned = line.when_learned if in_turn else line.final * math.nan
    steps = run.arm.training.steps if isinstance(run.arm, Arm) else math.nan
    return Outcome(
        seed=run.seed,
        retention=metrics.mean(metrics.retentions(line)),
        average_score=metrics.average_score(line),
        plasticity=metrics.mean(learned),
        forgetting=metrics.average_forgetting(line) if in_turn else math.nan,
        papers_forgetting=metrics.average_forgetting_of_the_paper(line) if in_turn else math.nan,
        background=fmean(right for cell in run.rows[-1] if cell is not None for right in cell.background_right),
        # Later lessons alone: what a strategy does for earlier concepts begins with the second.
        seconds=fmean(run.seconds[1:]) / steps if len(run.seconds) > 1 else math.nan,
        size=float(run.version_bytes[-1]) if run.version_bytes else math.nan,
        final=tuple(line.final.tolist()),
        learned=tuple(learned.tolist()),
        alone=tuple(line.isolated.tolist()),
    )


Figure = Callable[[Outcome], float]


def over_runs(outcomes: Sequence[Outcome], figure: Figure) -> Estimate | None:
    """The mean over runs; None where no run has the figure."""
    values = [value for value in map(figure, outcomes) if math.isfinite(value)]
    return estimate(values) if values else None


def paired(ours: Sequence[Outcome], theirs: Sequence[Outcome], figure: Figure) -> Estimate | None:
    """The mean of ours less theirs over the runs that both have; None where there is none."""
    other: Mapping[int, Outcome] = {one.seed: one for one in theirs}
    pairs = [figure(one) - figure(other[one.seed]) for one in ours if one.seed in other]
    known = [value for value in pairs if math.isfinite(value)]
    return estimate(known) if known else None


def best_by_retention(outcomes: Mapping[str, Sequence[Outcome]], names: Sequence[str]) -> str:
    """Of those names that were run, the one with the highest mean retention."""
    means = {name: over_runs(outcomes[name], lambda one: one.retention) for name in names if outcomes.get(name)}
    return max(means, key=lambda name: -math.inf if (found := means[name]) is None else found.value)
