"""Estimates with 95% intervals, and effects that are paired by seed."""

import math
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from app.domain.base import Value

_Z = 1.959963984540054  # the normal distribution's 97.5% point
_RESAMPLES = 4_000


class Estimate(Value):
    """A figure over `count` independent units (pictures, or clusters of them), with its 95% interval."""

    value: float
    low: float
    high: float
    count: int


def share(hits: Sequence[bool]) -> Estimate:
    """The share of hits, with Wilson's score interval (1927), which keeps its coverage near 0 and 1."""
    n = len(hits)
    if n == 0:
        raise ValueError("a share of nothing")
    p = sum(hits) / n
    middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    # Rounding can put an end on the wrong side of a share of 0 or 1.
    return Estimate(value=p, low=max(0.0, min(p, middle - half)), high=min(1.0, max(p, middle + half)), count=n)


def mean(values: Sequence[float], clusters: Sequence[Hashable] | None = None, seed: int = 0) -> Estimate:
    """The mean, with the percentile bootstrap's interval (Efron 1979).

    Values of one cluster (pictures of one prompt) are not independent: whole clusters are drawn again then.
    """
    sums, counts = _by_cluster(values, clusters)
    drawn = np.random.default_rng(seed).integers(0, len(sums), (_RESAMPLES, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(value=float(sums.sum() / counts.sum()), low=float(low), high=float(high), count=len(sums))


def _by_cluster(
    values: Sequence[float], clusters: Sequence[Hashable] | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The sum and the number of values of each cluster."""
    if not values:
        raise ValueError("a mean of nothing")
    keys = list(range(len(values))) if clusters is None else list(clusters)
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    members = [places[key] for key in keys]
    sums = np.bincount(members, weights=np.asarray(values, np.float64)).astype(np.float64)
    return sums, np.bincount(members).astype(np.float64)


def standardised_gain(treated: Sequence[float], control: Sequence[float]) -> float:
    """Mean over standard deviation (n - 1) of the differences, pair by pair: Cohen's d_z for paired samples."""
    gains = np.subtract(treated, control)
    if len(gains) < 2:
        raise ValueError("a standard deviation wants two pairs at least")
    deviation = float(gains.std(ddof=1))
    average = float(gains.mean())
    if deviation == 0.0:
        return math.copysign(math.inf, average) if average else 0.0
    return average / deviation
