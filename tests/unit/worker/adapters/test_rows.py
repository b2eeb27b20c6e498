"""Row adapters: each row as alone with `W0 + D` of its state, and each state's gradients as if trained alone."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from app.domain.strategies import MagnitudeOptions, MergeOptions
from tests.tiny_pipelines import tiny_base
from tests.unit.worker.adapters.oracle import random_adapter
from worker.adapters.accumulated import ChainLink, UpdateMismatchError, applied
from worker.adapters.factors import Adapter, Factors
from worker.adapters.rows import Dense, LowRank, State, joined, rows, state_of
from worker.models.base import Sampling
from worker.models.projections import adapted_projections, projection_shape
from worker.models.sd import StableDiffusionBase
from worker.strategies.replay import replay

TOLERANCE = 1e-5


class Net(nn.Module):
    """A linear layer without bias, one with, and convolutions of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1, stride=2)
        self.grouped = nn.Conv2d(6, 6, 3, padding=1, groups=3)
        self.mirrored = nn.Conv2d(6, 8, 3, padding=1, padding_mode="reflect")
        self.point = nn.Conv2d(8, 8, 1)
        self.plain = nn.Linear(8, 10, bias=False)
        self.biased = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = torch.tanh(self.point(torch.tanh(self.mirrored(torch.tanh(self.grouped(self.first(x)))))))
        tokens: Tensor = self.biased(torch.tanh(self.plain(maps.flatten(2).mT)))
        return tokens


NET = Net().requires_grad_(False)
SHAPES = {name: projection_shape(module) for name, module in NET.named_children()}  # type: ignore[arg-type]
RANKS = st.integers(0, 3)


def drawn_state(ranks: Sequence[int], seed: int) -> State:
    """By module: rank 0 leaves it out, rank 3 stands for a dense update."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, LowRank | Dense] = {}
    for (name, (outputs, inputs)), rank in zip(SHAPES.items(), ranks, strict=True):
        if rank == 3:
            state[name] = Dense(0.3 * torch.randn(outputs, inputs, generator=generator))
        elif rank:
            a, b = torch.randn(rank, inputs, generator=generator), torch.randn(outputs, rank, generator=generator)
            state[name] = LowRank(0.3 * a, 0.3 * b)
    return state


STATES = st.lists(st.lists(RANKS, min_size=len(SHAPES), max_size=len(SHAPES)), min_size=1, max_size=4)


@settings(deadline=None)
@given(STATES, st.data(), st.integers(1, 2))
def test_each_row_is_that_of_its_state_alone(all_ranks: list[list[int]], data: st.DataObject, copies: int) -> None:
    states = [drawn_state(ranks, seed) for seed, ranks in enumerate(all_ranks)]
    blocks = st.integers(1, 3).map(lambda each: [state for state in range(len(states)) for _ in range(each)])
    of_row = data.draw(blocks | st.lists(st.integers(0, len(states) - 1), min_size=1, max_size=5))
    x = torch.randn(copies * len(of_row), 3, 8, 8, generator=torch.Generator().manual_seed(9))
    with rows(NET, states, of_row):
        together = NET(x)
    for place, row in enumerate(together):
        state = states[of_row[place % len(of_row)]]
        with applied(NET, {name: update.dense() for name, update in state.items()}):
            alone = NET(x[place : place + 1])[0]
        assert (row - alone).norm() <= TOLERANCE * alone.norm()


@settings(deadline=None)
@given(st.lists(st.integers(1, 2), min_size=2, max_size=3), st.data())
def test_each_states_gradients_are_those_of_training_it_alone(ranks: list[int], data: st.DataObject) -> None:
    states = [drawn_state([rank] * len(SHAPES), seed) for seed, rank in enumerate(ranks)]
    of_row = [*range(len(states)), *data.draw(st.lists(st.integers(0, len(states) - 1), max_size=3))]
    x = torch.randn(len(of_row), 3, 8, 8, generator=torch.Generator().manual_seed(3))
    factors = [part for state in states for update in state.values() for part in parts_of(update)]
    for part in factors:
        part.requires_grad_(True)
    with rows(NET, states, of_row):
        NET(x).square().sum().backward()
    shared = [part.grad for part in factors]
    for part in factors:
        part.grad = None
    for index, state in enumerate(states):
        with rows(NET, [state], [0]):
            for place in (n for n, own in enumerate(of_row) if own == index):
                NET(x[place : place + 1]).square().sum().backward()
    for together, part in zip(shared, factors, strict=True):
        assert together is not None
        assert part.grad is not None
        assert (together - part.grad).norm() <= TOLERANCE * part.grad.norm() + 1e-7


def parts_of(update: LowRank | Dense) -> tuple[Tensor, ...]:
    return (update.a, update.b) if isinstance(update, LowRank) else (update.delta,)


def flops(states: Sequence[State], of_row: Sequence[int]) -> int:
    x = torch.randn(len(of_row), 3, 8, 8)
    with FlopCounterMode(display=False) as counter, rows(NET, states, of_row):
        NET(x)
    return int(counter.get_total_flops())


def test_a_state_without_rows_costs_nothing() -> None:
    one, other = drawn_state([2] * len(SHAPES), 0), drawn_state([3] * len(SHAPES), 1)
    assert flops([one, other], [0, 0]) == flops([one], [0, 0])
    assert flops([{}, one], [0, 0, 0]) == flops([{}], [0, 0, 0])
    assert flops([one], [0, 0]) > flops([{}], [0, 0])


def test_the_net_is_as_it_was_afterwards_also_after_an_error() -> None:
    x = torch.randn(2, 3, 8, 8)
    before = NET(x)
    state = drawn_state([2] * len(SHAPES), 0)
    with rows(NET, [state], [0, 0]):
        assert not torch.equal(NET(x), before)
    with pytest.raises(RuntimeError), rows(NET, [state], [0, 0]):
        NET(x[:, :2])
    assert torch.equal(NET(x), before)
    assert not any(module._forward_hooks for module in NET.modules())


def test_what_does_not_fit_the_net_is_refused() -> None:
    narrow = LowRank(torch.zeros(1, 2), torch.zeros(10, 1))
    with pytest.raises(UpdateMismatchError, match="plain has shape"), rows(NET, [{"plain": narrow}], [0]):
        pass
    with pytest.raises(UpdateMismatchError, match="no module elsewhere"), rows(NET, [{"elsewhere": narrow}], [0]):
        pass
    with rows(NET, [drawn_state([1] * len(SHAPES), 0)], [0, 0]), pytest.raises(ValueError, match="3 rows"):
        NET(torch.randn(3, 3, 8, 8))


def link(rank: int, seed: int, strategy: MergeOptions | MagnitudeOptions, shape: tuple[int, int]) -> ChainLink:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(rank, shape[1], generator=generator)
    b = torch.randn(shape[0], rank, generator=generator)
    return ChainLink(strategy, Adapter(0.5, {"plain": Factors(a, b)}))


@pytest.mark.parametrize("tasks", [1, 2, 5, 40])
def test_a_chain_of_any_length_keeps_its_update_and_no_more_rank_than_it_can_have(tasks: int) -> None:
    shape = (24, 20)
    chain = [link(4, seed, MergeOptions(), shape) for seed in range(tasks)]
    lineage = replay(chain)
    state = state_of(lineage)["plain"]
    assert (state.dense() - lineage.update["plain"]).norm() <= TOLERANCE * lineage.update["plain"].norm()
    weights = sum(part.numel() for part in parts_of(state))
    assert weights <= 24 * 20
    assert isinstance(state, LowRank) == (4 * tasks * (24 + 20) < 24 * 20)


def test_terms_that_repeat_are_compressed_to_their_rank() -> None:
    one = link(3, 0, MergeOptions(), (40, 50)).adapter
    update = joined("plain", [one] * 20)
    assert isinstance(update, LowRank)
    assert len(update.a) == 3
    expected = 20 * one.delta("plain")
    assert (update.dense() - expected).norm() <= TOLERANCE * expected.norm()


def test_a_selection_is_dense() -> None:
    chain = [link(2, seed, MagnitudeOptions(), (24, 20)) for seed in range(2)]
    lineage = replay(chain)
    state = state_of(lineage)["plain"]
    assert isinstance(state, Dense)
    assert torch.equal(state.delta, lineage.update["plain"])


def test_a_denoiser_draws_the_rows_of_three_versions_under_guidance() -> None:
    """A whole UNet: base, low-rank and dense rows in one batch, twice over as guidance has them."""
    base = tiny_base()
    generator = torch.Generator().manual_seed(0)
    shapes = {
        name: projection_shape(projection)
        for name, projection in adapted_projections(base.denoiser, ("to_q", "to_v", "conv1", "proj_in")).items()
    }
    low: State = {
        name: LowRank(torch.randn(2, i, generator=generator) / i**0.5, torch.randn(o, 2, generator=generator) / 4)
        for name, (o, i) in shapes.items()
    }
    dense: State = {
        name: Dense(torch.randn(o, i, generator=generator) / (4 * i**0.5)) for name, (o, i) in shapes.items()
    }
    states: list[State] = [{}, low, dense]
    of_row = [1, 0, 2]
    noisy = torch.randn(6, 4, 8, 8, generator=generator)
    timesteps = torch.full((6,), 500)
    conditioning = base.encode_prompts(["a cat", "a dog", "a cat", "", "", ""])
    with torch.no_grad():
        with rows(base.denoiser, states, of_row):
            together = base.predict(noisy, timesteps, conditioning)
        for place in range(6):
            with applied(base.denoiser, {n: u.dense() for n, u in states[of_row[place % 3]].items()}):
                own = torch.tensor([place])
                alone = base.predict(noisy[own], timesteps[own], conditioning.rows(own))[0]
            assert (together[place] - alone).norm() <= TOLERANCE * alone.norm()


def alone(base: StableDiffusionBase, state: State, sampling: Sampling, seed: int) -> np.ndarray:
    """The picture that the state draws by itself, the update put into the weights."""
    with applied(base.denoiser, {name: update.dense() for name, update in state.items()}):
        (picture,) = base.sample(sampling, [torch.Generator().manual_seed(seed)], lambda *_: None)
    return np.asarray(picture).astype(int)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize(
    ("kinds", "of_row"),
    [(("low", "long"), [0, 0, 1, 1]), (("low", "base", "long", "dense"), [3, 0, 1, 2, 0])],
)
def test_the_sampler_draws_pictures_of_several_versions_as_each_draws_them_alone(
    guidance: float, kinds: tuple[str, ...], of_row: list[int]
) -> None:
    """Chains of one and of three tasks, a selection (`magnitude`), and the base."""
    base = tiny_base()
    projections = adapted_projections(base.denoiser, ("to_q", "to_k", "to_v"))
    shapes = {name: projection_shape(projection) for name, projection in projections.items()}
    adapters = [random_adapter(shapes, 2, 0.2, seed) for seed in range(3)]
    chains = {
        "base": [],
        "low": [ChainLink(MergeOptions(), adapters[0])],
        "long": [ChainLink(MergeOptions(), adapter) for adapter in adapters],
        "dense": [ChainLink(MagnitudeOptions(), adapter) for adapter in adapters[:2]],
    }
    states = [state_of(replay(chains[kind])) for kind in kinds]
    sampling = Sampling(prompt="a zqa cat", negative_prompt=None, steps=3, guidance_scale=guidance, width=64, height=64)
    seeds = range(5, 5 + len(of_row))
    with rows(base.denoiser, states, of_row):
        together = base.sample(sampling, [torch.Generator().manual_seed(seed) for seed in seeds], lambda *_: None)
    for picture, index, seed in zip(together, of_row, seeds, strict=True):
        assert np.abs(np.asarray(picture).astype(int) - alone(base, states[index], sampling, seed)).max() <= 1
    drawn = [alone(base, state, sampling, 5) for state in states]
    assert all(np.abs(one - drawn[0]).max() > 1 for one in drawn[1:])
