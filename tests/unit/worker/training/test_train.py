"""What a training does, and what it leaves behind."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from app.domain.base_models import Family
from app.domain.errors import InvalidInputError, NotFiniteError
from app.domain.jobs import Phase
from app.domain.strategies import (
    CLoraOptions,
    MagnitudeOptions,
    MergeOptions,
    NaiveOptions,
    OrthogonalBasis,
    OrthogonalMergeOptions,
    SelfReplayOptions,
    StrategyOptions,
)
from app.domain.training import TrainingOptions
from tests.tiny_pipelines import PredictionType, tiny_base, write_tiny_sd
from tests.unit.worker.training.helpers import OPTIONS, Listener, a_task, file_of, fixed_loss, same_weights, weights_of
from worker.adapters.accumulated import ChainLink, applied
from worker.adapters.factors import Adapter
from worker.models.loading import load_base
from worker.strategies.replay import replay
from worker.training.loop import train

pytestmark = pytest.mark.slow


def with_options(**changes: float | str) -> TrainingOptions:
    return TrainingOptions.model_validate(OPTIONS.model_dump() | changes)


def test_the_hooks_hear_all_of_it() -> None:
    hooks = Listener()
    trained = train(tiny_base(), a_task(), hooks, None)
    assert hooks.phases == [Phase.ENCODING, Phase.TRAINING]
    assert hooks.encoded == 2
    assert hooks.steps == [(step, 5) for step in range(1, 6)]
    assert trained.final_loss == hooks.losses[-1]


def test_the_same_task_gives_the_same_bytes_and_another_seed_others() -> None:
    base = tiny_base()
    first = file_of(train(base, a_task(), Listener(), None))
    assert file_of(train(base, a_task(), Listener(), None)) == first
    assert file_of(train(base, a_task(with_options(seed=4)), Listener(), None)) != first


def test_the_global_random_state_does_not_matter() -> None:
    torch.manual_seed(1)
    first = file_of(train(tiny_base(), a_task(), Listener(), None))
    torch.manual_seed(2)
    assert file_of(train(tiny_base(), a_task(), Listener(), None)) == first


def test_the_base_is_as_it_was() -> None:
    base, hooks = tiny_base(), Listener()
    before = weights_of(base)
    link = ChainLink(MergeOptions(), train(base, a_task(), hooks, None).adapter)
    train(base, a_task(strategy=NaiveOptions(), chain=(link,)), hooks, None)
    assert same_weights(base, before)


@pytest.mark.parametrize("stop_after", [1, 3])
def test_the_base_is_as_it_was_after_a_hook_raised(stop_after: int) -> None:
    base = tiny_base()
    before, modules = weights_of(base), dict(base.denoiser.named_modules())
    with pytest.raises(Listener.Stopped):
        train(base, a_task(), Listener(stop_after=stop_after), None)
    assert same_weights(base, before)
    assert dict(base.denoiser.named_modules()) == modules


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_training_lowers_the_loss_on_fixed_noise(prediction_type: PredictionType) -> None:
    base, task = tiny_base(prediction_type), a_task(with_options(steps=20, rank=4, batch_size=4, learning_rate=2e-2))
    link = ChainLink(MergeOptions(), train(base, task, Listener(), None).adapter)
    assert fixed_loss(base, task, replay([link]).update) < 0.97 * fixed_loss(base, task, {})


def test_the_first_loss_of_a_task_is_the_parents() -> None:
    """B = 0, so a fresh adapter over `W0 + D` changes nothing yet; and D really is beneath."""
    base = tiny_base()
    link = ChainLink(MergeOptions(), train(base, a_task(with_options(learning_rate=0.1)), Listener(), None).adapter)
    nothing = Adapter(1.0, {name: replace(f, b=torch.zeros_like(f.b)) for name, f in link.adapter.modules.items()})
    second = a_task(chain=(ChainLink(MergeOptions(), nothing),))
    over_parent, over_base = Listener(), Listener()
    train(base, a_task(chain=(link,)), over_parent, None)
    train(base, second, over_base, None)
    with applied(base.denoiser, replay([link]).update):
        merged = Listener()
        train(base, second, merged, None)
    assert over_parent.losses == pytest.approx(merged.losses, rel=1e-5)
    assert over_parent.losses[0] != pytest.approx(over_base.losses[0], rel=1e-3)


def test_naive_goes_on_where_its_parent_stopped() -> None:
    base = tiny_base()
    parent = train(base, a_task(strategy=NaiveOptions()), Listener(), None).adapter
    link = ChainLink(NaiveOptions(), parent)
    slow = a_task(with_options(learning_rate=1e-9, steps=1), NaiveOptions(), (link,))
    child = train(base, slow, Listener(), None).adapter
    for name, factors in parent.modules.items():
        np.testing.assert_allclose(child.modules[name].a, factors.a, atol=1e-8)
        np.testing.assert_allclose(child.modules[name].b, factors.b, atol=1e-8)


def test_two_tasks_of_a_chain_draw_their_own_numbers_from_one_seed() -> None:
    first = a_task()
    second = replace(first, chain=(ChainLink(MergeOptions(), Adapter(1.0, {})),))
    draws = [torch.randn(9, generator=task.generator()) for task in (first, second, first, second)]
    assert torch.equal(draws[0], draws[2])
    assert torch.equal(draws[1], draws[3])
    assert not torch.equal(draws[0], draws[1])


@pytest.mark.parametrize(
    "strategy",
    [
        MagnitudeOptions(),
        *(OrthogonalMergeOptions(basis=basis, freeze_a=True) for basis in OrthogonalBasis),
        CLoraOptions(),
        SelfReplayOptions(mu=0),
    ],
)
def test_a_first_task_gives_the_same_bytes_as_merge(strategy: StrategyOptions) -> None:
    merged = train(tiny_base(), a_task(), Listener(), None)
    trained = train(tiny_base(), a_task(strategy=strategy), Listener(), None)
    assert file_of(trained) == file_of(merged)
    assert trained.final_loss == merged.final_loss
    assert trained.notes.keys() == ({"update_norm"} if strategy.name == "c_lora" else set())


def test_a_frozen_a_stays_orthogonal_while_b_learns() -> None:
    base = tiny_base()
    link = ChainLink(MergeOptions(), train(base, a_task(), Listener(), None).adapter)
    frozen, free = (OrthogonalMergeOptions(freeze_a=freeze_a) for freeze_a in (True, False))
    options = with_options(weight_decay=0.1)
    trained, other = (train(base, a_task(options, own, (link,)), Listener(), None) for own in (frozen, free))
    for name, d in replay([link]).update.items():
        a, b = trained.adapter.modules[name].a, trained.adapter.modules[name].b
        assert (a @ d.T).norm() <= 1e-6 * a.norm() * d.norm()
        assert b.abs().max() > 0
        assert not torch.equal(a, other.adapter.modules[name].a)
    assert trained.notes == other.notes
    assert trained.notes["energy_covered"] == pytest.approx(1)


def test_alpha_scales_the_adapter() -> None:
    assert train(tiny_base(), a_task(with_options(alpha=6, steps=1)), Listener(), None).adapter.scale == 3


@pytest.mark.parametrize("names", [("conv1",), ("to_k", "proj_in", "conv_in")])
def test_convolutions_train_too(names: tuple[str, ...]) -> None:
    base, task = tiny_base(), a_task(with_options(steps=2), adapted_modules=names)
    adapter = train(base, task, Listener(), None).adapter
    assert all(adapter.delta(name).abs().max() > 0 for name in adapter.modules)
    assert {name.rsplit(".", 1)[-1] for name in adapter.modules} == set(names)


def test_a_learning_rate_that_diverges_names_the_step() -> None:
    base = tiny_base()
    before = weights_of(base)
    with pytest.raises(NotFiniteError, match=r"not finite at step \d+ of 40"):
        train(base, a_task(with_options(learning_rate=1, alpha=1024, max_grad_norm=1000, steps=40)), Listener(), None)
    assert same_weights(base, before)


def test_a_loss_that_is_not_finite_fails_at_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    base, calls = tiny_base(), iter(range(99))
    monkeypatch.setattr(
        type(base), "target", lambda _self, latents, _noise, _t: latents * (math.nan if next(calls) == 2 else 1)
    )
    with pytest.raises(NotFiniteError, match="loss is not finite at step 3 of 5"):
        train(base, a_task(), Listener(), None)


def test_a_factor_that_is_not_finite_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.adapters.factors.Adapter.is_finite", lambda _self: False)
    with pytest.raises(NotFiniteError, match="factor is not finite after step 5"):
        train(tiny_base(), a_task(), Listener(), None)


def test_modules_that_are_not_there_are_told() -> None:
    with pytest.raises(InvalidInputError, match="named to_nowhere"):
        train(tiny_base(), a_task(adapted_modules=("to_nowhere",)), Listener(), None)


def test_a_base_in_half_precision_trains_factors_in_full(tmp_path: Path) -> None:
    write_tiny_sd(tmp_path)
    base = load_base(Family.SD, str(tmp_path), torch.device("cpu"), torch.bfloat16)
    before = weights_of(base)
    adapter = train(base, a_task(), Listener(), None).adapter
    child = a_task(chain=(ChainLink(MergeOptions(), adapter),))
    adapter = train(base, child, Listener(), None).adapter
    assert {factors.b.dtype for factors in adapter.modules.values()} == {torch.float32}
    # A number that bf16 can hold has the lower half of its fp32 bits zero.
    bits = torch.cat([factors.b.flatten() for factors in adapter.modules.values()]).view(torch.int32)
    assert (bits & 0xFFFF).count_nonzero() > 0
    assert same_weights(base, before)
