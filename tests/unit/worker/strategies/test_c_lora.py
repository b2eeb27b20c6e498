"""The penalty of `c_lora`: its value and gradient against numpy, when it is absent, and what it does to a training."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from app.domain.strategies import CLoraOptions, MergeOptions
from app.domain.training import TrainingOptions
from tests.tiny_pipelines import tiny_base
from tests.unit.worker.adapters.oracle import Matrix, delta, random_adapter
from tests.unit.worker.strategies.contexts import a_context
from tests.unit.worker.training.helpers import OPTIONS, Listener, a_task
from worker.adapters.accumulated import AppliedUpdate, ChainLink, LineageState, Update
from worker.adapters.factors import Adapter
from worker.adapters.injected import LiveAdapter, injected
from worker.strategies.c_lora import CLora
from worker.strategies.extra_loss import ExtraLoss
from worker.strategies.replay import replay
from worker.strategies.task_context import AdaptedBase
from worker.training.loop import train

SHAPES = {"linear": (5, 6), "conv": (3, 18)}
ADAPTER = random_adapter(SHAPES, 2, 1.5, seed=0)
LEARNED = {name: torch.from_numpy(delta(random_adapter(SHAPES, 4, 0.3, seed=1), name)).float() for name in SHAPES}


@contextmanager
def penalty(update: Update, lam: float) -> Iterator[tuple[ExtraLoss, LiveAdapter]]:
    """The extra loss of a task over `update` whose adapter is ADAPTER just now."""
    denoiser = nn.ModuleDict({"linear": nn.Linear(6, 5), "conv": nn.Conv2d(2, 3, 3)})
    strategy = CLora(CLoraOptions(lam=lam))
    start = strategy.start(LineageState(update), a_context(SHAPES, TrainingOptions(rank=2)))
    with injected(denoiser, ADAPTER.modules, alpha=3.0) as live:
        yield start.extra_loss(AdaptedBase(a_context(), live, AppliedUpdate({}, {}))), live


def weights(update: Mapping[str, torch.Tensor], name: str) -> Matrix:
    absolute: Matrix = np.abs(update[name].double().numpy())
    at_mean_one: Matrix = absolute / absolute.mean()
    return at_mean_one


def test_value_and_gradient_are_those_of_the_formula() -> None:
    with penalty(LEARNED, lam=0.7) as (extra, live):
        loss = extra.of_step()
        assert loss is not None
        loss.backward()
        expected = 0.7 * sum(np.square(weights(LEARNED, name) * delta(ADAPTER, name)).sum() for name in SHAPES)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        for name, factors in live.modules.items():
            a, b = (part.double().numpy() for part in (ADAPTER.modules[name].a, ADAPTER.modules[name].b))
            outer = 2 * 0.7 * 1.5 * np.square(weights(LEARNED, name)) * delta(ADAPTER, name)
            assert factors.a.grad is not None
            assert factors.b.grad is not None
            np.testing.assert_allclose(factors.a.grad.flatten(1), b.T @ outer, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(factors.b.grad.flatten(1), outer @ a.T, rtol=1e-4, atol=1e-4)


def test_how_large_the_earlier_update_is_does_not_matter_only_where_it_is() -> None:
    values = []
    for factor in (1, 30):
        with penalty({name: factor * d for name, d in LEARNED.items()}, lam=0.7) as (extra, _):
            values.append(extra.of_step())
    assert values[0] is not None
    assert values[1] is not None
    torch.testing.assert_close(values[0], values[1])


def test_a_projection_that_has_learned_nothing_is_free() -> None:
    """Also where its D is there and zero, as after an update that a `naive` run took back."""
    alone = []
    for update in ({"conv": LEARNED["conv"]}, {"conv": LEARNED["conv"], "linear": torch.zeros(5, 6)}):
        with penalty(update, lam=0.7) as (extra, _):
            alone.append(extra.of_step())
    assert alone[0] is not None
    assert alone[0].item() == alone[1].item()  # type: ignore[union-attr]
    assert math.isfinite(alone[0].item())


@pytest.mark.parametrize(("update", "lam"), [({}, 0.7), ({"linear": torch.zeros(5, 6)}, 0.7), (LEARNED, 0.0)])
def test_it_is_absent_while_there_is_nothing_to_protect(update: Update, lam: float) -> None:
    with penalty(update, lam) as (extra, _):
        assert extra.of_step() is None


def test_it_notes_the_updates_norm() -> None:
    with penalty(LEARNED, lam=0.7) as (extra, _):
        expected = math.sqrt(sum(np.square(delta(ADAPTER, name)).sum() for name in SHAPES))
        assert extra.notes() == {"update_norm": pytest.approx(expected)}


def harm(update: Update, adapter: Adapter) -> float:
    """What the penalty measures of an adapter, at lam = 1."""
    return sum(float(np.square(weights(update, name) * delta(adapter, name)).sum()) for name in adapter.modules)


def test_training_turns_away_from_what_was_learned_and_too_much_of_it_drives_the_update_to_zero() -> None:
    base, parent = tiny_base(), train(tiny_base(), a_task(), Listener(), None).adapter
    chain = (ChainLink(MergeOptions(), parent),)
    training = OPTIONS.model_copy(update={"steps": 12})
    merged, held, stifled = (
        train(base, replace(a_task(training, chain=chain), strategy=CLoraOptions(lam=lam)), Listener(), None)
        for lam in (0, 1, 1e4)
    )
    update = replay(chain).update
    assert harm(update, held.adapter) < 0.9 * harm(update, merged.adapter)
    assert stifled.notes["update_norm"] < 0.5 * merged.notes["update_norm"]
