"""How a task of `orthogonal_merge` starts: what its A is orthogonal to, how large it is, and what it refuses."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidInputError
from app.domain.strategies import MergeOptions, OrthogonalBasis, OrthogonalMergeOptions
from app.domain.training import TrainingOptions
from tests.unit.worker.adapters.oracle import Matrix, accumulated, random_adapter
from tests.unit.worker.strategies.chains import Chain, chains
from tests.unit.worker.strategies.contexts import a_context
from worker.adapters.accumulated import ChainLink
from worker.strategies.orthogonal_merge import OrthogonalMerge
from worker.strategies.replay import replay
from worker.strategies.strategy import TaskStart
from worker.strategies.task_context import Shapes, fresh_factors

SHAPES = {"to_k": (30, 20), "to_q": (40, 60)}
PROTECTING = [OrthogonalBasis.SPAN, OrthogonalBasis.PREVIOUS]
DRAW_SEED = 5000  # of no adapter in any chain: a draw that lies in Q altogether leaves nothing
SPAN, PREVIOUS = (OrthogonalMergeOptions(basis=basis) for basis in PROTECTING)


def link(seed: int, rank: int = 4) -> ChainLink:
    return ChainLink(MergeOptions(), random_adapter(SHAPES, rank, 1.0, seed))


def start(options: OrthogonalMergeOptions, chain: list[ChainLink], rank: int = 4, shapes: Shapes = SHAPES) -> TaskStart:
    task = a_context(shapes, TrainingOptions(rank=rank), DRAW_SEED)
    return OrthogonalMerge(options).start(replay(chain), task)


def numpy_basis(matrix: Matrix, room: int) -> Matrix:
    """The top right singular vectors with weight, d_in x k, k <= room."""
    _, values, vectors = np.linalg.svd(matrix, full_matrices=False)
    basis: Matrix = vectors[: min(int((values > 1e-4 * values[0]).sum()), max(room, 0))].T
    return basis


def protected(options: OrthogonalMergeOptions, chain: list[ChainLink], name: str) -> Matrix:
    if options.basis is OrthogonalBasis.SPAN:
        state = replay(chain)
        d = state.update[name].double().numpy()
        # Of a sum more is known than its rounded value: the rows that it is made of.
        return d if state.terms[name] is None else accumulated(chain, name, d.shape)
    return chain[-1].adapter.modules[name].a.double().numpy()


@pytest.mark.parametrize("options", [SPAN, PREVIOUS])
@given(chain=chains(min_size=1), rank=st.integers(1, 6))
def test_a_q_is_zero_at_the_norm_of_the_gaussian_draw(options: OrthogonalMergeOptions, chain: Chain, rank: int) -> None:
    begun = start(options, chain.links, rank, chain.shapes)
    drawn = fresh_factors(chain.shapes, rank, torch.Generator().manual_seed(DRAW_SEED))
    state = replay(chain.links)
    learned = state.update if options.basis is OrthogonalBasis.SPAN else chain.links[-1].adapter.modules
    for name, (d_out, d_in) in chain.shapes.items():
        a = begun.factors[name].a
        norm = float(drawn[name].a.norm())
        assert a.shape == (rank, d_in)
        assert a.dtype == torch.float32
        assert float(a.norm()) == pytest.approx(norm, rel=1e-6)
        assert torch.equal(begun.factors[name].b, torch.zeros(d_out, rank))
        if name not in learned:
            assert torch.equal(a, drawn[name].a)
            continue
        q = numpy_basis(protected(options, chain.links, name), d_in - rank)
        assert np.linalg.norm(a.double().numpy() @ q) <= 1e-6 * norm


@pytest.mark.parametrize("options", [SPAN, PREVIOUS])
def test_what_an_earlier_update_answers_to_is_what_a_does_not_see(options: OrthogonalMergeOptions) -> None:
    """With room for all of it, `A D^T = 0` (span), or `A A_{t-1}^T = 0` (previous)."""
    chain = [link(0), link(1), link(2)]
    begun = start(options, chain)
    for name, factors in begun.factors.items():
        matrix = protected(options, chain, name)
        overlap = np.linalg.norm(factors.a.double().numpy() @ matrix.T)
        assert overlap <= 1e-6 * np.linalg.norm(matrix) * float(factors.a.norm())


def share(options: OrthogonalMergeOptions, chain: list[ChainLink], rank: int) -> dict[str, float]:
    inside, total = {}, {}
    for name, (_, d_in) in SHAPES.items():
        d = replay(chain).update[name].double().numpy()
        inside[name] = np.square(d @ numpy_basis(protected(options, chain, name), d_in - rank)).sum()
        total[name] = np.square(d).sum()
    least = min(inside[name] / total[name] for name in SHAPES)
    return {"energy_covered": sum(inside.values()) / sum(total.values()), "least_energy_covered": least}


@pytest.mark.parametrize("options", [SPAN, PREVIOUS])
@pytest.mark.parametrize("rank", [4, 12, 20, 64])
def test_the_notes_say_how_much_of_d_is_protected(options: OrthogonalMergeOptions, rank: int) -> None:
    chain = [link(0), link(1), link(2)]
    assert start(options, chain, rank).notes == pytest.approx(share(options, chain, rank), abs=1e-6)


def test_span_covers_all_that_it_has_room_for() -> None:
    chain = [link(0), link(1), link(2)]
    assert start(SPAN, chain, rank=4).notes == pytest.approx({"energy_covered": 1, "least_energy_covered": 1})
    cut = start(SPAN, chain, rank=12).notes
    assert 0.5 < cut["least_energy_covered"] < cut["energy_covered"] < 1


def test_an_update_of_zero_has_no_share_and_protects_nothing() -> None:
    zero = random_adapter(SHAPES, 4, 1.0, seed=0)
    for factors in zero.modules.values():
        factors.b.zero_()
    begun = start(SPAN, [ChainLink(MergeOptions(), zero)])
    assert begun.notes == {}
    assert torch.equal(begun.factors["to_q"].a, start(SPAN, []).factors["to_q"].a)


def test_strict_refuses_what_finds_no_room() -> None:
    strict = OrthogonalMergeOptions(strict=True)
    chain = [link(0), link(1), link(2)]
    assert start(strict, chain, rank=8).notes["energy_covered"] == pytest.approx(1)
    message = r"an adapter of rank 9 .* in 1 of 2 projections \(to_k has 20 inputs, of which 12 are in use\)"
    with pytest.raises(InvalidInputError, match=message):
        start(strict, chain, rank=9)
    previous = OrthogonalMergeOptions(basis=OrthogonalBasis.PREVIOUS, strict=True)
    assert start(previous, chain, rank=16).factors["to_k"].a.shape == (16, 20)
    with pytest.raises(InvalidInputError, match="of which 4 are in use"):
        start(previous, chain, rank=17)


@pytest.mark.parametrize("basis", list(OrthogonalBasis))
def test_freeze_a_trains_b_alone_once_there_is_something_to_protect(basis: OrthogonalBasis) -> None:
    frozen = OrthogonalMergeOptions(basis=basis, freeze_a=True)
    assert start(frozen, []).frozen_a == set()
    assert start(frozen, [link(0)]).frozen_a == SHAPES.keys()
    assert start(OrthogonalMergeOptions(basis=basis), [link(0)]).frozen_a == set()


@pytest.mark.parametrize(
    "options",
    [{"basis": "reference", "strict": True}, {"match_norm": True}, {"basis": "previous", "match_norm": True}],
)
def test_options_that_would_do_nothing_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"goes with (basis 'reference'|the bases 'span' and 'previous')"):
        OrthogonalMergeOptions.model_validate(options)
