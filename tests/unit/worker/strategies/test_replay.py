"""D_t of any chain, against numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given

from app.domain.strategies import (
    CLoraOptions,
    IsolatedOptions,
    MagnitudeOptions,
    MergeOptions,
    NaiveOptions,
    NullSpaceOptions,
    OrthogonalMergeOptions,
    SelfReplayOptions,
    StrategyOptions,
)
from tests.unit.worker.adapters.oracle import accumulated, delta, narrowest_choice, random_adapter
from tests.unit.worker.strategies.chains import Chain, chains
from worker.adapters.accumulated import ChainLink
from worker.adapters.factors import Adapter
from worker.strategies.replay import replay

NAIVE, MERGE, ORTHOGONAL, MAGNITUDE = NaiveOptions(), MergeOptions(), OrthogonalMergeOptions(), MagnitudeOptions()
C_LORA, SELF_REPLAY = CLoraOptions(), SelfReplayOptions()
NULL_SPACE, ISOLATED = NullSpaceOptions(), IsolatedOptions()
SHAPES = {"to_q": (5, 7), "to_out.0": (3, 12)}


@given(chains(torch.float64))
def test_any_chain_in_fp64_gives_what_numpy_gives(chain: Chain) -> None:
    update = replay(chain.links).update
    for name, shape in chain.shapes.items():
        expected = accumulated(chain.links, name, shape)
        d = update.get(name, torch.zeros(shape)).numpy()
        np.testing.assert_allclose(d, expected, rtol=1e-6, atol=1e-6 * chain.largest(name))


@given(chains())
def test_any_chain_in_fp32_gives_what_numpy_gives(chain: Chain) -> None:
    update = replay(chain.links).update
    assert update.keys() <= {name for link in chain.links for name in link.adapter.modules}
    for name, d in update.items():
        largest, shape = chain.largest(name), chain.shapes[name]
        # Where two magnitudes are this close, rounding decides which one fp32 takes.
        clear = narrowest_choice(chain.links, name, shape) > 1e-4 * largest
        expected = accumulated(chain.links, name, shape)
        np.testing.assert_allclose(d.numpy()[clear], expected[clear], rtol=1e-5, atol=1e-5 * largest)
        assert d.dtype == torch.float32


@given(chains(torch.int64))
def test_any_chain_of_whole_numbers_gives_exactly_what_numpy_gives(chain: Chain) -> None:
    """Whole numbers are exact in fp32 too, and full of ties."""
    update = replay(chain.links).update
    for name, shape in chain.shapes.items():
        np.testing.assert_array_equal(update.get(name, torch.zeros(shape)), accumulated(chain.links, name, shape))


@given(chains(min_size=1))
def test_a_replay_is_the_same_bits_each_time_and_ends_with_the_last_link(chain: Chain) -> None:
    again = replay(chain.links)
    for name, d in replay(chain.links).update.items():
        assert torch.equal(d, again.update[name])
    assert again.last is not None
    assert again.last.strategy == chain.links[-1].strategy
    assert again.last.adapter is chain.links[-1].adapter


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
        ((ORTHOGONAL, ORTHOGONAL, MERGE), {0, 1, 2}),
        ((MAGNITUDE, ORTHOGONAL, NAIVE, NAIVE), {0, 1, 3}),
        ((C_LORA, SELF_REPLAY, NAIVE, C_LORA), {0, 1, 2, 3}),
        ((NULL_SPACE, ISOLATED, ISOLATED, NAIVE, NAIVE), {0, 1, 2, 4}),
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


def test_a_tie_goes_to_the_new_value() -> None:
    """Seen in the sign: the second update is the first one with every other column turned round."""
    first = random_adapter(SHAPES, 2, 1.0, seed=0)
    signs = {name: torch.tensor([1.0, -1.0] * d_in)[:d_in] for name, (_, d_in) in SHAPES.items()}
    second = Adapter(1.0, {name: replace(f, a=f.a * signs[name]) for name, f in first.modules.items()})
    update = replay([ChainLink(MERGE, first), ChainLink(MAGNITUDE, second)]).update
    assert all(torch.equal(update[name], second.delta(name)) for name in SHAPES)


def test_magnitude_keeps_what_is_larger() -> None:
    small, large = (random_adapter(SHAPES, 2, scale, seed=0) for scale in (1.0, 1.5))
    for chain in ([small, large], [large, small]):
        update = replay([ChainLink(MAGNITUDE, adapter) for adapter in chain]).update
        assert all(torch.equal(update[name], large.delta(name)) for name in SHAPES)


@pytest.mark.parametrize("strategy", [MERGE, ORTHOGONAL, MAGNITUDE, C_LORA, SELF_REPLAY, NULL_SPACE, ISOLATED])
def test_the_first_version_is_the_same_for_all(strategy: StrategyOptions) -> None:
    adapter = random_adapter(SHAPES, 2, 0.7, seed=0)
    update = replay([ChainLink(strategy, adapter)]).update
    assert all(torch.equal(update[name], adapter.delta(name)) for name in SHAPES)
