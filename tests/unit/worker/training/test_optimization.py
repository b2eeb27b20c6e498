"""Learning rates over the steps, by the formulas of their names."""

import math

import pytest
import torch
from pydantic import ValidationError

from app.domain.training import LrScheduler, TrainingOptions
from tests.tiny_pipelines import tiny_base
from tests.unit.worker.adapters.oracle import random_adapter
from worker.adapters.injected import LiveAdapter, LiveFactors
from worker.training.optimization import make_lr_scheduler, make_optimizer
from worker.training.train_state import new_train_state

STEPS, RATE = 8, 0.5


def rates(training: TrainingOptions) -> list[float]:
    """The learning rate of each step."""
    optimizer = make_optimizer([torch.nn.Parameter(torch.zeros(1))], training)
    lr_scheduler = make_lr_scheduler(optimizer, training)
    seen = []
    for _ in range(training.steps):
        seen.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        lr_scheduler.step()
    return seen


def options(name: LrScheduler, warmup: int = 0, rules: str | None = None) -> TrainingOptions:
    return TrainingOptions(
        steps=STEPS, learning_rate=RATE, lr_scheduler=name, lr_warmup_steps=warmup, lr_step_rules=rules
    )


@pytest.mark.parametrize(
    ("training", "factors"),
    [
        (options(LrScheduler.CONSTANT), [1.0] * STEPS),
        (options(LrScheduler.CONSTANT_WITH_WARMUP, warmup=4), [0, 0.25, 0.5, 0.75, 1, 1, 1, 1]),
        (options(LrScheduler.LINEAR), [1 - n / STEPS for n in range(STEPS)]),
        (options(LrScheduler.COSINE), [0.5 * (1 + math.cos(math.pi * n / STEPS)) for n in range(STEPS)]),
        (options(LrScheduler.COSINE_WITH_RESTARTS), [0.5 * (1 + math.cos(math.pi * n / STEPS)) for n in range(STEPS)]),
        (options(LrScheduler.POLYNOMIAL), [1 - n / STEPS for n in range(STEPS)]),
        (options(LrScheduler.PIECEWISE_CONSTANT, rules="1:2,0.1:5,0.01"), [1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01]),
    ],
)
def test_each_name_gives_its_rates(training: TrainingOptions, factors: list[float]) -> None:
    assert rates(training) == pytest.approx([RATE * factor for factor in factors], abs=1e-6)


def test_every_name_is_known() -> None:
    for name in LrScheduler:
        rules = "1:2,0.5" if name is LrScheduler.PIECEWISE_CONSTANT else None
        assert len(rates(options(name, warmup=2, rules=rules))) == STEPS


@pytest.mark.parametrize(
    "refused",
    [
        # Its polynomial ends at a rate of 1e-7 and wants to begin above it.
        {"lr_scheduler": "polynomial", "learning_rate": 1e-8},
        {"lr_scheduler": "piecewise_constant", "lr_step_rules": "10:0.5,1"},
        {"lr_scheduler": "piecewise_constant", "lr_step_rules": "1.2.3"},
        {"lr_scheduler": "piecewise_constant"},
        {"lr_scheduler": "cosine", "lr_step_rules": "1:10,0.1"},
    ],
)
def test_what_diffusers_would_refuse_is_refused_at_the_door(refused: dict[str, str | float]) -> None:
    with pytest.raises(ValidationError):
        TrainingOptions.model_validate(refused)


def updated(max_norm: float, gradient: float) -> tuple[float, list[torch.Tensor]]:
    """One update whose loss has this gradient in every element of A (2 x 3); the norm, and A's gradient after it."""
    factors = random_adapter({"x": (4, 3)}, 2, 1.0, seed=0).modules["x"]
    live = LiveFactors(torch.nn.Parameter(factors.a), torch.nn.Parameter(factors.b))
    adapter = LiveAdapter(1.0, {"x": live}, ())
    state = new_train_state(adapter, TrainingOptions(), torch.Generator(), {}, tiny_base().device)
    before = live.b.detach().clone()
    norm = state.update([(live.a * gradient).sum() + live.b.sum() * 0], max_norm)
    assert live.a.grad is not None
    return norm, [live.a.grad, live.b.detach() - before]


def test_gradients_are_clipped_to_the_norm() -> None:
    norm, (gradient, _) = updated(max_norm=1.0, gradient=10.0)
    assert norm == pytest.approx(10 * math.sqrt(6))
    assert gradient.norm().item() == pytest.approx(1.0, rel=1e-4)


def test_small_gradients_are_left_alone() -> None:
    norm, (gradient, _) = updated(max_norm=1.0, gradient=0.1)
    assert norm == pytest.approx(0.1 * math.sqrt(6))
    assert torch.allclose(gradient, torch.full((2, 3), 0.1))


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    norm, (_, change) = updated(max_norm=1.0, gradient=math.inf)
    assert not math.isfinite(norm)
    assert torch.equal(change, torch.zeros(4, 2))
