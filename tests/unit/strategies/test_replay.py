"""D_t of any chain, against numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.domain.strategies import MergeOptions, NaiveOptions, StrategyOptions
from tests.unit.adapters.oracle import accumulated, delta, random_adapter
from worker.adapters.accumulated import ChainLink
from worker.strategies.replay import replay

NAIVE, MERGE = NaiveOptions(), MergeOptions()
SHAPES = {"to_q": (5, 7), "to_out.0": (3, 12)}

links = st.builds(
    lambda options, rank, scale, seed: ChainLink(options, random_adapter(SHAPES, rank, scale, seed)),
    st.sampled_from([NAIVE, MERGE]),
    st.integers(1, 4),
    st.floats(0.1, 10),
    st.integers(0, 999),
)


@given(st.lists(links, max_size=7))
def test_any_chain_gives_what_numpy_gives(chain: list[ChainLink]) -> None:
    update = replay(chain).update
    assert set(update) == (set(SHAPES) if chain else set())
    for name, d in update.items():
        expected = accumulated(chain, name, SHAPES[name])
        # Relative to the largest term, since terms may cancel.
        largest = max(abs(delta(link.adapter, name)).max() for link in chain)
        np.testing.assert_allclose(d.numpy(), expected, rtol=1e-5, atol=1e-5 * largest)
        assert d.dtype == torch.float32


@given(st.lists(links, min_size=1, max_size=7))
def test_a_replay_is_bit_for_bit_the_replay_of_its_prefix_and_the_last_link(chain: list[ChainLink]) -> None:
    again = replay(chain)
    for name, d in replay(chain).update.items():
        assert torch.equal(d, again.update[name])
    assert again.last is not None
    assert again.last.strategy == chain[-1].strategy
    assert again.last.adapter is chain[-1].adapter


def chain_of(*strategies: StrategyOptions) -> list[ChainLink]:
    return [ChainLink(options, random_adapter(SHAPES, 2, 1.0, seed)) for seed, options in enumerate(strategies)]


@pytest.mark.parametrize(
    ("strategies", "counted"),
    [
        ((NAIVE, NAIVE, NAIVE), {2}),
        ((MERGE, MERGE, MERGE), {0, 1, 2}),
        ((MERGE, NAIVE, NAIVE), {0, 2}),
        ((NAIVE, NAIVE, MERGE), {1, 2}),
        ((NAIVE, NAIVE, MERGE, NAIVE, NAIVE), {1, 2, 4}),
    ],
)
def test_which_adapters_count(strategies: tuple[StrategyOptions, ...], counted: set[int]) -> None:
    chain = chain_of(*strategies)
    for name, d in replay(chain).update.items():
        expected = sum(delta(chain[n].adapter, name) for n in counted)
        np.testing.assert_allclose(d.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_modules_of_one_link_only_are_zero_in_the_others() -> None:
    first = ChainLink(MERGE, random_adapter({"to_q": (5, 7)}, 2, 1.0, 0))
    second = ChainLink(MERGE, random_adapter({"to_k": (5, 7)}, 2, 1.0, 1))
    update = replay([first, second]).update
    assert torch.equal(update["to_q"], first.adapter.delta("to_q"))
    assert torch.equal(update["to_k"], second.adapter.delta("to_k"))
