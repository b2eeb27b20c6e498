"""The metrics, against their definitions written out in loops, on drawn matrices with missing cells and ties."""

import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from worker.evaluation import metrics
from worker.evaluation.metrics import FloatArray, Line

# Few values, so that ties are common; None is a missing cell.
CELLS = st.sampled_from([math.nan, -0.5, 0.0, 0.25, 0.25, 0.5, 0.75, 1.0])


@st.composite
def lines(draw: st.DrawFn) -> Line:
    """Up to five concepts, learned in any of up to seven rows; cells may be missing anywhere."""
    learned_at = tuple(sorted(draw(st.sets(st.integers(1, 6), min_size=1, max_size=5))))
    rows = draw(st.integers(max(learned_at) + 1, 7))
    count = len(learned_at)
    vector = arrays(float, count, elements=CELLS)
    return Line(
        scores=draw(arrays(float, (rows, count), elements=CELLS)),
        learned_at=learned_at,
        isolated=draw(vector),
        own_gain_errors=np.abs(draw(vector)) / 4,
        isolated_gain_errors=np.abs(draw(vector)) / 4,
    )


def average(terms: Iterable[float]) -> float:
    defined = [term for term in terms if not math.isnan(term)]
    return sum(defined) / len(defined) if defined else math.nan


def best(line: Line, j: int, rows: range) -> float:
    scores = [float(line.scores[i][j]) for i in rows if not math.isnan(line.scores[i][j])]
    return max(scores) if scores else math.nan


def past(line: Line) -> list[int]:
    return [j for j, row in enumerate(line.learned_at) if row < len(line.scores) - 1]


def everything(line: Line) -> range:
    return range(len(line.learned_at))


ORACLES: dict[Callable[[Line], float], Callable[[Line], float]] = {
    metrics.average_score: lambda r: average(r.scores[-1][j] for j in everything(r)),
    metrics.average_forgetting_of_the_paper: lambda r: average(
        best(r, j, range(r.learned_at[j], len(r.scores))) - r.scores[-1][j] for j in everything(r)
    ),
    metrics.average_forgetting: lambda r: average(
        best(r, j, range(r.learned_at[j], len(r.scores) - 1)) - r.scores[-1][j] for j in past(r)
    ),
    metrics.plasticity: lambda r: average(r.scores[r.learned_at[j]][j] for j in everything(r)),
    metrics.intransigence: lambda r: average(r.isolated[j] - r.scores[r.learned_at[j]][j] for j in everything(r)),
    metrics.backward_transfer: lambda r: average(r.scores[-1][j] - r.scores[r.learned_at[j]][j] for j in past(r)),
}


@pytest.mark.parametrize("metric", ORACLES, ids=lambda metric: metric.__name__)
@given(line=lines())
def test_a_metric_is_its_definition(metric: Callable[[Line], float], line: Line) -> None:
    assert metric(line) == pytest.approx(ORACLES[metric](line), nan_ok=True)


def share(part: float, whole: float, error: float) -> float:
    is_sure = not math.isnan(whole) and whole > 0 and not math.isnan(error) and whole >= 2 * error
    return part / whole if is_sure else math.nan


@given(line=lines())
def test_retentions_are_their_definition(line: Line) -> None:
    base, end = line.scores[0], line.scores[-1]
    for j in everything(line):
        whole = float(line.isolated[j] - base[j])
        expected = share(float(end[j] - base[j]), whole, float(line.isolated_gain_errors[j]))
        assert metrics.retentions(line)[j] == pytest.approx(expected, nan_ok=True)
        for i in range(len(line.scores)):
            own = float(line.scores[line.learned_at[j]][j] - base[j])
            expected = share(float(line.scores[i][j] - base[j]), own, float(line.own_gain_errors[j]))
            expected = math.nan if i < line.learned_at[j] else expected
            assert metrics.self_retentions(line)[i, j] == pytest.approx(expected, nan_ok=True)


@given(line=lines())
def test_what_a_line_says_is_what_its_own_rows_say(line: Line) -> None:
    """Scores between the base and a concept's own row, if a caller has any, move nothing."""
    silent = line.scores.copy()
    for j, row in enumerate(line.learned_at):
        silent[1:row, j] = np.nan
    without = Line(silent, line.learned_at, line.isolated, line.own_gain_errors, line.isolated_gain_errors)
    for metric in ORACLES:
        assert metric(without) == pytest.approx(metric(line), nan_ok=True)


@given(data=st.data())
def test_confusion_is_its_definition(data: st.DataObject) -> None:
    concepts, count = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 8))
    similarities: FloatArray = data.draw(arrays(float, (count, concepts), elements=CELLS))
    made_for = data.draw(st.lists(st.integers(0, concepts - 1), min_size=count, max_size=count))
    expected = np.full((concepts, concepts), math.nan)
    for j in range(concepts):
        own = [similarities[p] for p in range(count) if made_for[p] == j]
        voters = [row for row in own if not all(math.isnan(value) for value in row)]
        for k in range(concepts):
            if any(not math.isnan(row[k]) for row in voters):
                expected[j][k] = sum(_vote(row, k) for row in voters) / len(voters)
    assert metrics.confusion(similarities, made_for) == pytest.approx(expected, nan_ok=True)


def _vote(row: FloatArray, k: int) -> float:
    top = max(float(value) for value in row if not math.isnan(value))
    return float(row[k] == top) / sum(float(value == top) for value in row)
