"""Intervals and effects, against their definitions and against known distributions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.statistics import mean, share, standardised_gain

_Z = 1.959963984540054


@given(st.integers(1, 2_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_ends_are_where_the_score_test_turns(hits_of: tuple[int, int]) -> None:
    """The interval holds exactly the shares p0 that |p - p0| <= z sqrt(p0 (1 - p0) / n) does not reject."""
    hits, n = hits_of
    estimate = share([True] * hits + [False] * (n - hits))
    p = hits / n
    # (1 + z2 / n) x2 - (2 p + z2 / n) x + p2 = 0
    ends = sorted(np.roots([1 + _Z**2 / n, -(2 * p + _Z**2 / n), p**2]).real)
    assert estimate.value == p
    assert [estimate.low, estimate.high] == pytest.approx(ends, abs=1e-6)
    assert 0 <= estimate.low <= p <= estimate.high <= 1


def test_a_mean_of_many_has_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    estimate = mean(list(values))
    half = _Z * values.std(ddof=1) / math.sqrt(len(values))
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.02)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.02)


def test_copies_within_a_cluster_add_no_certainty() -> None:
    values = list(np.random.default_rng(2).normal(size=50))
    copied = [value for value in values for _ in range(8)]
    clusters = [n for n in range(50) for _ in range(8)]
    alone, clustered, naive = mean(values), mean(copied, clusters), mean(copied)
    assert (clustered.low, clustered.high) == pytest.approx((alone.low, alone.high))
    assert clustered.count == 50
    assert naive.high - naive.low < 0.5 * (clustered.high - clustered.low)


def test_clusters_of_several_sizes_count_by_their_values() -> None:
    assert mean([1.0, 1.0, 1.0, 5.0], ["a", "a", "a", "b"]).value == 2.0


def test_a_gain_is_paired() -> None:
    noise = np.random.default_rng(3).normal(0, 10, 64)
    gains = np.random.default_rng(4).normal(1, 0.5, 64)
    found = standardised_gain(list(noise + gains), list(noise))
    assert found == pytest.approx(gains.mean() / gains.std(ddof=1))


def test_gains_without_deviation() -> None:
    assert standardised_gain([2.0, 2.0], [1.0, 1.0]) == math.inf
    assert standardised_gain([1.0, 1.0], [2.0, 2.0]) == -math.inf
    assert standardised_gain([1.0, 1.0], [1.0, 1.0]) == 0.0


def test_nothing_has_no_figures() -> None:
    with pytest.raises(ValueError, match="share of nothing"):
        share([])
    with pytest.raises(ValueError, match="mean of nothing"):
        mean([])
    with pytest.raises(ValueError, match="two pairs"):
        standardised_gain([1.0], [0.0])
