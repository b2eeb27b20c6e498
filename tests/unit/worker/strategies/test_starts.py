"""How a task starts under each strategy."""

import numpy as np
import pytest
import torch

from app.domain.errors import InvalidInputError
from app.domain.strategies import (
    CLoraOptions,
    IsolatedOptions,
    MagnitudeOptions,
    MergeOptions,
    NaiveOptions,
    OrthogonalBasis,
    OrthogonalMergeOptions,
    SelfReplayOptions,
    StrategyOptions,
)
from app.domain.training import TrainingOptions
from tests.unit.worker.adapters.oracle import delta, random_adapter
from tests.unit.worker.strategies.contexts import a_context
from worker.adapters.accumulated import BASE_STATE, ChainLink
from worker.strategies.c_lora import CLora
from worker.strategies.isolated import Isolated
from worker.strategies.magnitude import Magnitude
from worker.strategies.merge import Merge
from worker.strategies.naive import Naive
from worker.strategies.orthogonal_merge import OrthogonalMerge
from worker.strategies.replay import replay
from worker.strategies.self_replay import SelfReplay
from worker.strategies.strategy import Strategy, TaskStart

SHAPES = {"to_q": (40, 600), "to_k": (30, 500)}
TRAINING = TrainingOptions(rank=4)
NAIVE, MERGE, MAGNITUDE = Naive(NaiveOptions()), Merge(MergeOptions()), Magnitude(MagnitudeOptions())
ISOLATED = Isolated(IsolatedOptions())
WITH_EXTRA_LOSS = [CLora(CLoraOptions()), SelfReplay(SelfReplayOptions())]
ORTHOGONAL = [OrthogonalMerge(OrthogonalMergeOptions(basis=basis, freeze_a=True)) for basis in OrthogonalBasis]


def link(options: StrategyOptions, seed: int, rank: int = 4, scale: float = 1.0) -> ChainLink:
    return ChainLink(options, random_adapter(SHAPES, rank, scale, seed))


def start(strategy: Strategy, *chain: ChainLink, training: TrainingOptions = TRAINING) -> TaskStart:
    return strategy.start(replay(chain), a_context(SHAPES, training, seed=7))


def same_factors(one: TaskStart, other: TaskStart) -> bool:
    return all(
        torch.equal(factors.a, other.factors[name].a) and torch.equal(factors.b, other.factors[name].b)
        for name, factors in one.factors.items()
    )


@pytest.mark.parametrize("strategy", [NAIVE, MERGE, MAGNITUDE, *ORTHOGONAL, *WITH_EXTRA_LOSS])
def test_from_the_base_a_is_gaussian_with_deviation_one_over_rank_and_b_is_zero(strategy: Strategy) -> None:
    begun = start(strategy)
    assert begun.beneath == {}
    assert list(begun.factors) == sorted(SHAPES)
    for name, (d_out, d_in) in SHAPES.items():
        factors = begun.factors[name]
        assert factors.a.shape == (4, d_in)
        assert factors.a.std().item() == pytest.approx(1 / 4, rel=0.1)
        assert abs(factors.a.mean().item()) < 0.03
        assert torch.equal(factors.b, torch.zeros(d_out, 4))


@pytest.mark.parametrize("strategy", [NAIVE, MAGNITUDE, ISOLATED, *ORTHOGONAL, *WITH_EXTRA_LOSS])
def test_the_first_task_is_the_same_for_all(strategy: Strategy) -> None:
    begun = start(strategy)
    assert same_factors(begun, start(MERGE))
    assert begun.frozen_a == set()
    assert begun.notes == {}


def test_the_order_of_modules_does_not_matter() -> None:
    turned_round = dict(reversed(SHAPES.items()))
    one = MERGE.start(BASE_STATE, a_context(SHAPES, TRAINING, seed=7))
    other = MERGE.start(BASE_STATE, a_context(turned_round, TRAINING, seed=7))
    assert same_factors(one, other)


@pytest.mark.parametrize("strategy", [MERGE, MAGNITUDE, *WITH_EXTRA_LOSS])
def test_what_merges_starts_afresh_over_everything(strategy: Strategy) -> None:
    chain = (link(NaiveOptions(), 0), link(MergeOptions(), 1))
    begun = start(strategy, *chain)
    assert same_factors(begun, start(MERGE))
    for name in SHAPES:
        expected = sum(delta(one.adapter, name) for one in chain)
        np.testing.assert_allclose(begun.beneath[name].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_naive_goes_on_with_the_adapter_over_where_its_run_began() -> None:
    chain = (link(MergeOptions(), 0), link(NaiveOptions(), 1), link(NaiveOptions(), 2))
    begun = start(NAIVE, *chain)
    for name in SHAPES:
        assert torch.equal(begun.factors[name].a, chain[2].adapter.modules[name].a)
        assert torch.equal(begun.factors[name].b, chain[2].adapter.modules[name].b)
        np.testing.assert_allclose(begun.beneath[name].numpy(), delta(chain[0].adapter, name), rtol=1e-4, atol=1e-4)


def test_a_naive_run_from_the_base_has_nothing_beneath() -> None:
    assert start(NAIVE, link(NaiveOptions(), 0), link(NaiveOptions(), 1)).beneath == {}


def test_naive_after_merge_begins_a_run_over_all_before() -> None:
    chain = (link(NaiveOptions(), 0), link(MergeOptions(), 1))
    begun = start(NAIVE, *chain)
    assert same_factors(begun, start(MERGE))
    assert set(begun.beneath) == set(SHAPES)


def test_isolated_starts_from_the_base_however_much_its_run_has_learned() -> None:
    assert start(ISOLATED, link(IsolatedOptions(), 0), link(IsolatedOptions(), 1)).beneath == {}
    chain = (link(MergeOptions(), 0), link(IsolatedOptions(), 1), link(IsolatedOptions(), 2))
    begun = start(ISOLATED, *chain)
    assert same_factors(begun, start(MERGE))
    for name in SHAPES:
        np.testing.assert_allclose(begun.beneath[name].numpy(), delta(chain[0].adapter, name), rtol=1e-4, atol=1e-4)


def test_merge_builds_on_all_that_was_isolated() -> None:
    chain = (link(IsolatedOptions(), 0), link(IsolatedOptions(), 1))
    begun = start(MERGE, *chain)
    for name in SHAPES:
        expected = sum(delta(one.adapter, name) for one in chain)
        np.testing.assert_allclose(begun.beneath[name].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_an_untrained_naive_continuation_changes_nothing() -> None:
    chain = [link(MergeOptions(), 0), link(NaiveOptions(), 1)]
    parent, child = replay(chain), replay([*chain, link(NaiveOptions(), 1)])
    assert all(torch.equal(child.update[name], parent.update[name]) for name in SHAPES)


@pytest.mark.parametrize(
    "training", [TrainingOptions(rank=2), TrainingOptions(rank=4, alpha=8), TrainingOptions(rank=8, alpha=8)]
)
def test_a_naive_run_keeps_its_shape(training: TrainingOptions) -> None:
    with pytest.raises(InvalidInputError, match="rank, alpha and adapted modules"):
        start(NAIVE, link(NaiveOptions(), 0), training=training)


def test_merge_may_change_its_shape() -> None:
    begun = start(MERGE, link(MergeOptions(), 0), training=TrainingOptions(rank=2, alpha=8))
    assert begun.factors["to_q"].a.shape == (2, 600)
