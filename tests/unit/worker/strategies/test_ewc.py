"""`ewc`: its importance against plain autograd, its penalty against numpy, and what both do to a training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from app.domain.strategies import EwcOptions, MergeOptions
from tests.tiny_pipelines import tiny_base
from tests.tiny_sdxl import tiny_sdxl_base
from tests.unit.worker.adapters.oracle import Matrix, delta, random_adapter
from tests.unit.worker.strategies.contexts import a_context
from tests.unit.worker.training.helpers import OPTIONS, Listener, a_task, file_of, same_weights, weights_of
from worker.adapters.accumulated import AppliedUpdate, ChainLink, LineageState, added, applied
from worker.adapters.injected import LiveAdapter, injected
from worker.models.base import Base
from worker.strategies.ewc import Ewc
from worker.strategies.extra_loss import ExtraLoss
from worker.strategies.importance import Importance, packed, unpacked
from worker.strategies.replay import replay
from worker.strategies.task_context import AdaptedBase
from worker.training.concept_dataset import ConceptDataset
from worker.training.data import encode
from worker.training.loop import train
from worker.training.training_task import Trained

pytestmark = pytest.mark.slow

SHAPES = {"linear": (5, 6), "conv": (3, 18)}
ADAPTER = random_adapter(SHAPES, 2, 1.5, seed=0)
DRAW = np.random.default_rng(0)
OMEGA = {name: np.square(DRAW.standard_normal(shape)) for name, shape in SHAPES.items()}
STATE = packed({name: Importance.of(torch.from_numpy(omega).float()) for name, omega in OMEGA.items()})
FEW = EwcOptions(fisher_samples=3)


@pytest.fixture(params=["sd", "sdxl"])
def base(request: pytest.FixtureRequest) -> Base:
    return tiny_base() if request.param == "sd" else tiny_sdxl_base()


def kept_of(omega: Matrix) -> Matrix:
    """What row and column means know of Omega."""
    kept: Matrix = np.outer(omega.mean(axis=1), omega.mean(axis=0)) / omega.mean()
    return kept


@contextmanager
def penalty(state: Mapping[str, Tensor], lam: float) -> Iterator[tuple[ExtraLoss, LiveAdapter]]:
    denoiser = nn.ModuleDict({"linear": nn.Linear(6, 5), "conv": nn.Conv2d(2, 3, 3)})
    parent = LineageState({}, strategy_state=state)
    start = Ewc(EwcOptions(lam=lam)).start(parent, a_context(SHAPES, OPTIONS))
    with injected(denoiser, ADAPTER.modules, alpha=3.0) as live:
        yield start.extra_loss(AdaptedBase(a_context(), live, AppliedUpdate({}, {}))), live


def test_value_and_gradient_are_those_of_the_formula() -> None:
    with penalty(STATE, lam=0.7) as (extra, live):
        loss = extra.of_step()
        assert loss is not None
        loss.backward()
        expected = 0.35 * sum((kept_of(OMEGA[name]) * np.square(delta(ADAPTER, name))).sum() for name in SHAPES)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        for name, factors in live.modules.items():
            a, b = (part.double().numpy() for part in (ADAPTER.modules[name].a, ADAPTER.modules[name].b))
            outer = 0.7 * 1.5 * kept_of(OMEGA[name]) * delta(ADAPTER, name)
            assert factors.a.grad is not None
            assert factors.b.grad is not None
            np.testing.assert_allclose(factors.a.grad.flatten(1), b.T @ outer, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(factors.b.grad.flatten(1), outer @ a.T, rtol=1e-4, atol=1e-4)
        assert extra.notes() == {"update_norm": pytest.approx(live.update_norm())}


@pytest.mark.parametrize(
    ("state", "lam"), [({}, 0.7), (STATE, 0.0), ({name: torch.zeros_like(part) for name, part in STATE.items()}, 0.7)]
)
def test_it_is_absent_while_there_is_nothing_to_protect(state: Mapping[str, Tensor], lam: float) -> None:
    with penalty(state, lam) as (extra, _):
        assert extra.of_step() is None


def learned(base: Base, strategy: EwcOptions, chain: tuple[ChainLink, ...] = ()) -> Trained:
    return train(base, a_task(OPTIONS, strategy, chain), Listener(), None)


def sampled_squares(base: Base, trained: Trained, count: int) -> dict[str, Matrix]:
    """The mean over samples of the squared gradient by D, with plain autograd on the merged weights."""
    task, names = a_task(OPTIONS, FEW), sorted(trained.adapter.modules)
    dataset, generator = ConceptDataset(base, encode(base, task, lambda: None)), task.generator("fisher")
    total = {name: np.zeros(()) for name in names}
    with applied(base.denoiser, added({}, trained.adapter)):
        weights = [base.denoiser.get_parameter(f"{name}.weight").requires_grad_() for name in names]
        for _ in range(count):
            found = torch.autograd.grad(dataset.loss(1, generator), weights)
            for name, gradient in zip(names, found, strict=True):
                total[name] = total[name] + np.square(gradient.flatten(1).double().numpy()) / count
    return total


def test_what_is_kept_is_the_mean_squared_gradient_of_single_samples_at_mean_one(base: Base) -> None:
    trained = learned(base, FEW)
    squares = sampled_squares(base, trained, 3)
    scale = np.concatenate([square.ravel() for square in squares.values()]).mean()
    kept = unpacked(trained.strategy_state)
    assert kept.keys() == squares.keys()
    for name, square in squares.items():
        largest = square.mean() / scale
        np.testing.assert_allclose(kept[name].row, square.mean(axis=1) / scale, rtol=2e-2, atol=2e-2 * largest)
        np.testing.assert_allclose(kept[name].column, square.mean(axis=0) / scale, rtol=2e-2, atol=2e-2 * largest)
    sizes = {name: square.size for name, square in squares.items()}
    mean = sum(kept[name].mean * sizes[name] for name in sizes) / sum(sizes.values())
    assert mean == pytest.approx(1, rel=1e-4)


def test_importance_fades_by_gamma_and_grows_by_this_tasks(base: Base) -> None:
    first = learned(base, FEW)
    link = ChainLink(FEW, first.adapter, strategy_state=first.strategy_state)
    kept = {
        gamma: unpacked(learned(base, FEW.model_copy(update={"gamma": gamma}), (link,)).strategy_state)
        for gamma in (0.0, 0.5)
    }
    for name, before in unpacked(first.strategy_state).items():
        torch.testing.assert_close(kept[0.5][name].row, kept[0.0][name].row + 0.5 * before.row)
        torch.testing.assert_close(kept[0.5][name].column, kept[0.0][name].column + 0.5 * before.column)


def test_the_first_task_is_that_of_merge_and_a_later_one_is_not() -> None:
    base = tiny_base()
    first, merged = learned(base, FEW), train(base, a_task(), Listener(), None)
    assert file_of(first) == file_of(merged)
    assert first.final_loss == merged.final_loss
    assert merged.strategy_state == {}
    link = ChainLink(FEW, first.adapter, strategy_state=first.strategy_state)
    second = learned(base, FEW.model_copy(update={"lam": 100.0}), (link,))
    plain = train(base, a_task(chain=(link,)), Listener(), None)
    assert second.notes["update_norm"] < 0.9 * norm_of(plain)
    assert file_of(learned(base, FEW.model_copy(update={"lam": 0.0}), (link,))) == file_of(plain)


def norm_of(trained: Trained) -> float:
    adapter = trained.adapter
    return float(np.sqrt(sum(np.square(delta(adapter, name)).sum() for name in adapter.modules)))


def test_what_was_kept_outlives_versions_that_keep_nothing() -> None:
    adapter = random_adapter(SHAPES, 2, 1.0, seed=1)
    chain = [ChainLink(FEW, ADAPTER, strategy_state=STATE), ChainLink(MergeOptions(), adapter)]
    assert replay(chain).strategy_state == STATE
    newer = {"linear.row": torch.ones(5), "linear.column": torch.ones(6)}
    assert replay([*chain, ChainLink(FEW, adapter, strategy_state=newer)]).strategy_state == newer


def test_an_interruption_changes_no_bit_and_the_base_is_as_it_was(base: Base) -> None:
    before, first = weights_of(base), learned(base, FEW)
    link = ChainLink(FEW, first.adapter, strategy_state=first.strategy_state)
    task, hooks = a_task(OPTIONS, FEW, (link,)), Listener(checkpoint_at=frozenset({2}))
    whole = train(base, task, hooks, None)
    resumed = train(base, task, Listener(), hooks.checkpoints[2])
    assert file_of(resumed) == file_of(whole)
    assert all(torch.equal(part, resumed.strategy_state[name]) for name, part in whole.strategy_state.items())
    assert same_weights(base, before)
    assert not any(parameter.requires_grad for parameter in base.denoiser.parameters())
    other = replace(task, chain=(replace(link, strategy_state={}),))
    with pytest.raises(ValueError, match="not a checkpoint of this task"):
        train(base, other, Listener(), hooks.checkpoints[2])
