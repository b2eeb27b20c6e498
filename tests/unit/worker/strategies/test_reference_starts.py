"""The basis `reference` of `orthogonal_merge` does what the paper's released code does, quirks included."""

import math

import numpy as np
import pytest

from app.domain.errors import InvalidInputError
from app.domain.strategies import (
    MagnitudeOptions,
    MergeOptions,
    NaiveOptions,
    OrthogonalBasis,
    OrthogonalMergeOptions,
    StrategyOptions,
)
from app.domain.training import TrainingOptions
from tests.unit.worker.adapters.oracle import Matrix, random_adapter
from tests.unit.worker.strategies.contexts import a_context
from worker.adapters.accumulated import ChainLink
from worker.strategies.orthogonal_merge import OrthogonalMerge
from worker.strategies.replay import replay
from worker.strategies.task_context import Shapes

D_IN = 4096
SHAPES = {"to_q": (8, D_IN)}
NAIVE, MERGE, MAGNITUDE = NaiveOptions(), MergeOptions(), MagnitudeOptions()
REFERENCE = OrthogonalMergeOptions(basis=OrthogonalBasis.REFERENCE)
MATCHED = OrthogonalMergeOptions(basis=OrthogonalBasis.REFERENCE, match_norm=True)


def link(seed: int, rank: int, strategy: StrategyOptions = MERGE, shapes: Shapes = SHAPES) -> ChainLink:
    return ChainLink(strategy, random_adapter(shapes, rank, 1.0, seed))


def started_a(chain: list[ChainLink], rank: int, options: OrthogonalMergeOptions = REFERENCE) -> Matrix:
    begun = OrthogonalMerge(options).start(replay(chain), a_context(SHAPES, TrainingOptions(rank=rank), seed=7))
    assert begun.notes == {}
    a: Matrix = begun.factors["to_q"].a.double().numpy()
    return a


def a_of(one: ChainLink) -> Matrix:
    a: Matrix = one.adapter.modules["to_q"].a.double().numpy()
    return a


@pytest.mark.parametrize("rank", [2, 4, 16, 64])
def test_each_column_is_a_unit_vector_orthogonal_to_the_same_column_before(rank: int) -> None:
    before = link(0, rank)
    a = started_a([before], rank)
    np.testing.assert_allclose(np.square(a).sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose((a * a_of(before)).sum(axis=0), 0, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 4, 64])
def test_its_norm_is_sqrt_r_times_the_gaussian_inits_unless_matched(rank: int) -> None:
    gaussian, chain = np.linalg.norm(started_a([], rank)), [link(0, rank)]
    a, matched = started_a(chain, rank), started_a(chain, rank, MATCHED)
    assert np.linalg.norm(a) / gaussian == pytest.approx(math.sqrt(rank), rel=0.05)
    assert np.linalg.norm(matched) == pytest.approx(gaussian, rel=1e-6)
    np.testing.assert_allclose(matched * np.linalg.norm(a) / gaussian, a, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("rank", "share"), [(4, 0.69), (64, 0.97)])
def test_almost_all_of_its_energy_lies_in_one_direction(rank: int, share: float) -> None:
    energies = np.square(np.linalg.svd(started_a([link(0, rank)], rank), compute_uv=False))
    assert energies[0] / energies.sum() == pytest.approx(share, abs=0.02)


def overlap(one: Matrix, other: Matrix) -> float:
    """The mean squared cosine between two row spaces."""
    rows = [np.linalg.qr(a.T)[0] for a in (one, other)]
    return float(np.square(rows[0].T @ rows[1]).sum() / one.shape[0])


def test_its_row_space_overlaps_the_earlier_one_as_a_random_one_does() -> None:
    before = link(0, 16)
    random = overlap(a_of(link(1, 16)), a_of(before))
    assert overlap(started_a([before], 16), a_of(before)) == pytest.approx(random, rel=0.3)
    assert random == pytest.approx(16 / D_IN, rel=0.3)


@pytest.mark.parametrize(
    ("strategies", "counted"),
    [
        ((MERGE, REFERENCE, MAGNITUDE), (0, 1, 2)),
        ((NAIVE, NAIVE), (1,)),
        ((MERGE, NAIVE, NAIVE), (0, 2)),
        ((NAIVE, MERGE, NAIVE, NAIVE, REFERENCE), (0, 1, 3, 4)),
    ],
)
def test_later_tasks_go_by_the_sum_of_the_adapters_that_count(
    strategies: tuple[StrategyOptions, ...], counted: tuple[int, ...]
) -> None:
    chain = [link(seed, 4, strategy) for seed, strategy in enumerate(strategies)]
    total = sum(a_of(chain[n]) for n in counted)
    np.testing.assert_allclose((started_a(chain, 4) * total).sum(axis=0), 0, atol=1e-5)


@pytest.mark.parametrize(
    "chain",
    [
        [link(0, 4)],
        [link(0, 2), link(1, 4)],
        [link(0, 4), link(1, 2)],
        [link(0, 4), link(1, 2, NAIVE), link(2, 2, NAIVE)],
    ],
    ids=["another", "grown", "shrunk", "naive run"],
)
def test_where_ranks_differ_it_is_undefined(chain: list[ChainLink]) -> None:
    with pytest.raises(InvalidInputError, match=r"earlier adapters of the same rank, here 2; those of to_q differ"):
        started_a(chain, 2)


def test_another_rank_that_no_longer_counts_does_no_harm() -> None:
    """A naive run's earlier adapters are gone; and projections are judged one by one."""
    assert started_a([link(0, 2, NAIVE), link(1, 4, NAIVE)], 4).shape == (4, D_IN)
    assert started_a([link(0, 2, shapes={"to_k": (3, 5)}), link(1, 4)], 4).shape == (4, D_IN)


def test_a_projection_that_has_learned_nothing_starts_as_merge_does() -> None:
    np.testing.assert_array_equal(started_a([link(0, 2, shapes={"to_k": (3, 5)})], 4), started_a([], 4))
