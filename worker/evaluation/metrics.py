"""What the scores of a line of versions say about forgetting: plain numpy, the definitions of docs/evaluation.md.

`R[i][j]` is the score of version i on concept j. Rows are one line of ancestry, the base first. Versions of other
branches and held versions beside the line are not in it. NaN is an undefined cell. A mean is over what is defined, and
undefined if nothing is. A missing score never counts as zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

STANDARD_ERRORS = 2.0
"""A gain of fewer standard errors than this is no ground to divide by: the ratio would be noise."""


@dataclass(frozen=True)
class Line:
    """The scores of one line of ancestry of N versions above the base, on the T concepts that it learned.

    scores: R, (N + 1) x T; row 0 is the base. A concept is undefined in the rows between the base and its own.
    learned_at: T rows; concept j was learned by row `learned_at[j]`, from 1 to N. More rows than concepts are allowed
        (an imported version teaches none).
    isolated: R*, T; each concept learned alone, from the base.
    own_gain_errors: T; the standard errors of `R[learned_at[j]][j] - R[0][j]`.
    isolated_gain_errors: T; those of `R*[j] - R[0][j]`.
    """

    scores: FloatArray
    learned_at: tuple[int, ...]
    isolated: FloatArray
    own_gain_errors: FloatArray
    isolated_gain_errors: FloatArray

    @classmethod
    def of_pictures(cls, pictures: FloatArray, learned_at: Sequence[int], isolated: FloatArray | None = None) -> "Line":
        """From the score of each picture: (N + 1) x T x P, and T x P for the isolated ones.

        Picture p of a column's cells has the same prompt and noise, so the errors are those of paired differences. With
        one picture there is no error, and so no ratio. A cell of fewer than P pictures is padded with NaN.
        """
        alone = np.full(pictures.shape[1:], np.nan) if isolated is None else isolated
        own = pictures[list(learned_at), range(len(learned_at))]
        return cls(
            scores=means(pictures),
            learned_at=tuple(learned_at),
            isolated=means(alone),
            own_gain_errors=standard_errors(own - pictures[0]),
            isolated_gain_errors=standard_errors(alone - pictures[0]),
        )

    @property
    def final(self) -> FloatArray:
        """`R[N]`, T."""
        final: FloatArray = self.scores[-1]
        return final

    @property
    def when_learned(self) -> FloatArray:
        """`R[learned_at[j]][j]`, T."""
        learned: FloatArray = self.scores[list(self.learned_at), range(len(self.learned_at))]
        return learned

    @property
    def is_past(self) -> NDArray[np.bool_]:
        """T; whether a concept was learned before the last row."""
        return np.array(self.learned_at, dtype=int) < len(self.scores) - 1


def means(values: FloatArray) -> FloatArray:
    """Over what is defined in the last axis; NaN where nothing is."""
    counts = (~np.isnan(values)).sum(axis=-1)
    totals: FloatArray = np.nansum(values, axis=-1) / np.where(counts > 0, counts, np.nan)
    return totals


def standard_errors(values: FloatArray) -> FloatArray:
    """Of the means over what is defined in the last axis; NaN where fewer than two values are."""
    counts = (~np.isnan(values)).sum(axis=-1)
    squares = np.nansum(np.square(values - means(values)[..., None]), axis=-1)
    errors: FloatArray = np.sqrt(squares / np.where(counts > 1, counts - 1, np.nan) / np.maximum(counts, 1))
    return errors


def mean(values: FloatArray) -> float:
    """Over all that is defined; NaN where nothing is."""
    return float(means(values.reshape(-1)))


def average_score(line: Line) -> float:
    """`mean_j R[N][j]`."""
    return mean(line.final)


def average_forgetting_of_the_paper(line: Line) -> float:
    """`1/T sum_j (max_{i >= j} R[i][j] - R[N][j])` (arXiv 2410.04891); the last concept counts, and loses nothing."""
    return mean(forgettings(line))


def forgettings(line: Line) -> FloatArray:
    """`max_{i >= j} R[i][j] - R[N][j]`, T."""
    return _best(line, len(line.scores)) - line.final


def average_forgetting(line: Line) -> float:
    """`1/(T-1) sum_{j<T} (max_{j <= i < N} R[i][j] - R[N][j])` (arXiv 1801.10112), negative where j has gained."""
    return mean((_best(line, len(line.scores) - 1) - line.final)[line.is_past])


def plasticity(line: Line) -> float:
    """`mean_j R[j][j]`: how well each concept was learned when it was its turn."""
    return mean(line.when_learned)


def intransigence(line: Line) -> float:
    """`mean_j (R*[j] - R[j][j])`: what having learned others before has cost."""
    return mean(line.isolated - line.when_learned)


def backward_transfer(line: Line) -> float:
    """`1/(T-1) sum_{j<T} (R[N][j] - R[j][j])` (arXiv 1706.08840)."""
    return mean((line.final - line.when_learned)[line.is_past])


def retentions(line: Line) -> FloatArray:
    """`(R[N][j] - R[0][j]) / (R*[j] - R[0][j])`, T: the share of what is learned alone that is there in the end."""
    return _ratio(line.final - line.scores[0], line.isolated - line.scores[0], line.isolated_gain_errors)


def self_retentions(line: Line) -> FloatArray:
    """`(R[i][j] - R[0][j]) / (R[j][j] - R[0][j])`, (N + 1) x T: the share of what was learned that row i still has.

    Undefined above the row that learned j.
    """
    shares = _ratio(line.scores - line.scores[0], line.when_learned - line.scores[0], line.own_gain_errors)
    return np.where(_since_learned(line), shares, np.nan)


def base_drift(predictions: FloatArray, base_predictions: FloatArray) -> float:
    """`E|f_N - f_0|^2 / E|f_0|^2`; both arrays are of any one shape, the same inputs in the same places."""
    energy = float(np.square(base_predictions).sum())
    return float(np.square(predictions - base_predictions).sum()) / energy if energy > 0 else float("nan")


def confusion(similarities: FloatArray, made_for: Sequence[int]) -> FloatArray:
    """How often the nearest reference set of a picture made for concept j is that of k: T x T, rows add up to 1.

    similarities: P x T, of each picture to each concept's references; NaN where the two cannot be compared.
    made_for: P; for which concept each picture was made. A picture equally near to several sets counts for each of
    them in part.
    """
    concepts = similarities.shape[1]
    shares = np.full((concepts, concepts), np.nan)
    for j in range(concepts):
        own = similarities[np.array(made_for, dtype=int) == j]
        comparable = ~np.isnan(own).all(axis=0) if len(own) else np.zeros(concepts, dtype=bool)
        own = own[~np.isnan(own).all(axis=1)]
        if len(own):
            nearest = own == np.nanmax(own, axis=1, keepdims=True)
            votes = (nearest / nearest.sum(axis=1, keepdims=True)).mean(axis=0)
            shares[j] = np.where(comparable, votes, np.nan)
    return shares


def _since_learned(line: Line) -> NDArray[np.bool_]:
    rows = np.arange(len(line.scores))[:, None]
    since: NDArray[np.bool_] = rows >= np.array(line.learned_at, dtype=int)[None, :]
    return since


def _best(line: Line, before: int) -> FloatArray:
    """The best score of each concept since it was learned, in the rows under `before`."""
    scores = np.where(_since_learned(line), line.scores, np.nan)[:before]
    best: FloatArray = np.fmax.reduce(scores, axis=0)
    return best


def _ratio(share: FloatArray, whole: FloatArray, whole_errors: FloatArray) -> FloatArray:
    """Undefined where the whole is not above zero by `STANDARD_ERRORS`."""
    is_sure = (whole > 0) & (whole >= STANDARD_ERRORS * whole_errors)
    return share / np.where(is_sure, whole, np.nan)
