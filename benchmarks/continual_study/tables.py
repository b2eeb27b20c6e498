"""What was found, as markdown: figures with intervals, paired differences, and the questions' answers."""

import math
from collections.abc import Callable, Mapping, Sequence

from benchmarks.continual_study.contestants import CHALLENGERS, MERGE, PAPERS_FOUR, REFERENCE_STARTS
from benchmarks.continual_study.outcomes import Figure, Outcome, best_by_retention, over_runs, paired
from benchmarks.statistics import Estimate

Standings = Mapping[str, Sequence[Outcome]]
"""The outcomes of each contestant that was run, by its name."""

PLASTICITY_ALLOWED = -0.02
_FIGURES: Mapping[str, Figure] = {
    "retention": lambda one: one.retention,
    "average score": lambda one: one.average_score,
    "plasticity": lambda one: one.plasticity,
    "forgetting": lambda one: one.forgetting,
    "forgetting, the paper's": lambda one: one.papers_forgetting,
    "background": lambda one: one.background,
}
_COMPARED = ("retention", "average score", "plasticity", "forgetting")


def told(standings: Standings) -> str:
    """All tables."""
    best = best_by_retention(standings, [one.name for one in PAPERS_FOUR])
    parts = [_means(standings), _differences(standings, best)]
    if best != MERGE.name and MERGE.name in standings:
        parts.append(_differences(standings, MERGE.name))
    return "\n\n".join([*parts, _answers(standings, best)])


def _means(standings: Standings) -> str:
    rows = []
    for name, outcomes in standings.items():
        figures = [_interval(over_runs(outcomes, figure)) for figure in _FIGURES.values()]
        rows.append([name, str(len(outcomes)), *figures, _times(standings, name), _bytes(outcomes)])
    head = ["strategy", "runs", *_FIGURES, "step, times merge's", "bytes a version"]
    return f"Mean over runs, with 95% intervals.\n\n{_table(head, rows)}"


def _differences(standings: Standings, other: str) -> str:
    rows = [
        [name, *(_signed(paired(outcomes, standings[other], _FIGURES[figure])) for figure in _COMPARED)]
        for name, outcomes in standings.items()
        if name != other
    ]
    return f"Less `{other}`, run by run, with 95% intervals.\n\n{_table(['strategy', *_COMPARED], rows)}"


def _answers(standings: Standings, best: str) -> str:
    """What was asked, and what the intervals say: yes, no, or that they cannot say."""
    naive, *merging = [one.name for one in PAPERS_FOUR]
    *others, magnitude = merging
    forgetting, retention, plasticity = (_FIGURES[name] for name in ("forgetting", "retention", "plasticity"))
    asked: list[tuple[str, str, str, Figure, float]] = [
        *((f"{name} forgets less than naive", name, naive, forgetting, -1.0) for name in merging),
        *((f"magnitude forgets less than {name}", magnitude, name, forgetting, -1.0) for name in others),
        *(
            (f"magnitude learns the later half worse than {name}", magnitude, name, _learned_later, -1.0)
            for name in (naive, *others)
        ),
        (
            "the reference start learns better than at matched norm",
            REFERENCE_STARTS[0].name,
            REFERENCE_STARTS[1].name,
            plasticity,
            1.0,
        ),
        *(
            (f"{one.name} retains more than {best}, the best of the four", one.name, best, retention, 1.0)
            for one in CHALLENGERS
        ),
    ]
    rows = [
        [question, _signed(found), answer(found, sign)]
        for question, ours, theirs, figure, sign in asked
        if ours in standings and theirs in standings
        for found in [paired(standings[ours], standings[theirs], figure)]
    ]
    challenges = [_challenge(standings, one.name, best) for one in CHALLENGERS if one.name in standings]
    return "\n\n".join([_table(["is it so that", "difference", "answer"], rows), *challenges])


def _challenge(standings: Standings, name: str, best: str) -> str:
    ours, theirs = standings[name], standings[best]
    learned = paired(ours, theirs, _FIGURES["plasticity"])
    forgets, others = (over_runs(outcomes, _FIGURES["forgetting"]) for outcomes in (ours, theirs))
    enough = "" if learned is None or learned.value >= PLASTICITY_ALLOWED else "not "
    told = (
        f"{name}: plasticity less that of `{best}` {_signed(learned)}, {enough}within the {PLASTICITY_ALLOWED} allowed."
    )
    if forgets is None or others is None or others.value <= 0:
        return told
    return f"{told} Forgetting: {forgets.value:.3f} to {others.value:.3f}, {forgets.value / others.value:.2f} times."


def answer(found: Estimate | None, sign: float) -> str:
    """Whether a difference of that sign is shown, the opposite is, or neither."""
    if found is None or found.count < 2:
        return "not measured"
    low, high = sorted((sign * found.low, sign * found.high))
    return "yes" if low > 0 else "no, the opposite" if high < 0 else "not shown"


def _learned_later(one: Outcome) -> float:
    """The mean score, when just learned, of the later half of the concepts."""
    later = one.learned[len(one.learned) // 2 :]
    return sum(later) / len(later)


def _times(standings: Standings, name: str) -> str:
    """By the wall, on whatever machine that was: see benchmarks.strategy_cost for an interleaved measurement."""
    found = paired(_logged(standings[name]), _logged(standings.get(MERGE.name, ())), lambda one: one.seconds)
    return "–" if found is None else f"{math.exp(found.value):.1f}"


def _logged(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """With the logarithm of seconds, whose differences are ratios."""
    return [
        one.model_copy(update={"seconds": math.log(one.seconds) if one.seconds > 0 else math.nan}) for one in outcomes
    ]


def _bytes(outcomes: Sequence[Outcome]) -> str:
    found = over_runs(outcomes, lambda one: one.size)
    return "–" if found is None else f"{found.value:,.0f}"


def _interval(found: Estimate | None) -> str:
    return _formatted(found, lambda value: f"{value:.3f}")


def _signed(found: Estimate | None) -> str:
    return _formatted(found, lambda value: f"{value:+.3f}")


def _formatted(found: Estimate | None, write: Callable[[float], str]) -> str:
    if found is None:
        return "–"
    return (
        f"{write(found.value)} ({write(found.low)} to {write(found.high)})" if found.count > 1 else write(found.value)
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
