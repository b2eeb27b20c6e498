"""Which trials there are, and what came of them: every candidate of every strategy on the same streams."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean

from app.domain.strategies import MergeOptions, StrategyOptions
from app.domain.training import TrainingOptions
from benchmarks.experiments.crew import Crew
from benchmarks.experiments.streams import Stream, StreamRun, StreamTrial
from benchmarks.strategy_options.choice import Measured, identities, measured

StreamCrew = Crew[StreamTrial, StreamRun]


@dataclass(frozen=True)
class Findings:
    """Over so many streams, by so many steps: the base's average score, `merge`, each strategy's candidates."""

    streams: int
    steps: int
    base_score: float
    merge: Measured
    candidates: Mapping[str, Sequence[Measured]]


def search(
    crew: StreamCrew,
    streams: Sequence[Stream],
    candidates: Mapping[str, Sequence[StrategyOptions]],
    training: TrainingOptions,
) -> Iterator[Findings]:
    """What is found on the first stream, then on the first two, and so on; each time by all candidates.

    Raises:
        OutOfBudgetError: the minutes are used up; called again, it goes on from there.
    """
    # Turn by turn, so that the slowest candidates are spread over the processes.
    arms = [MergeOptions(), *chain.from_iterable(zip(*candidates.values(), strict=True))]
    bases: list[StreamRun] = []
    runs: dict[StrategyOptions, list[StreamRun]] = {arm: [] for arm in arms}
    for number, stream in enumerate(streams, 1):
        trials = [StreamTrial(stream, None), *(stream.under(arm, training) for arm in arms)]
        base, *taught = crew.runs(trials, f"order {number}")
        bases.append(base)
        for arm, run in zip(arms, taught, strict=True):
            runs[arm].append(run)
        yield Findings(
            streams=number,
            steps=training.steps,
            base_score=fmean(identities(bases)),
            merge=measured(arms[0], runs[arms[0]], bases),
            candidates={
                name: [measured(arm, runs[arm], bases) for arm in options] for name, options in candidates.items()
            },
        )
