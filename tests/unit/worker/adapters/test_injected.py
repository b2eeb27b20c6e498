"""LoRA layers on a real denoiser, and off again."""

import pytest
import torch
from torch import nn

from tests.tiny_pipelines import tiny_base
from tests.unit.worker.adapters.oracle import random_adapter
from worker.adapters.accumulated import added, applied
from worker.adapters.factors import Adapter
from worker.adapters.injected import injected
from worker.models.projections import adapted_projections, projection_shape


def an_adapter(names: tuple[str, ...], rank: int = 2, alpha: float = 3.0) -> Adapter:
    projections = adapted_projections(tiny_base().denoiser, names)
    shapes = {name: projection_shape(projection) for name, projection in projections.items()}
    return random_adapter(shapes, rank, alpha / rank, seed=0)


def outputs(base_denoiser: nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    latents, prompt = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 5, 32, generator=generator)
    with torch.no_grad():
        model_pred: torch.Tensor = base_denoiser(latents, torch.tensor([3, 800]), prompt).sample
    return model_pred


@pytest.mark.parametrize("names", [("to_q", "to_out.0"), ("conv1", "conv_shortcut"), ("to_k", "proj_in")])
def test_injected_factors_compute_what_the_merged_update_computes(names: tuple[str, ...]) -> None:
    denoiser, adapter = tiny_base().denoiser, an_adapter(names)
    plain = outputs(denoiser)
    with injected(denoiser, adapter.modules, alpha=3.0):
        with_layers = outputs(denoiser)
    with applied(denoiser, added({}, adapter)):
        merged = outputs(denoiser)
    assert not torch.allclose(plain, merged, atol=1e-2)
    torch.testing.assert_close(with_layers, merged, rtol=1e-3, atol=1e-4)
    assert torch.equal(outputs(denoiser), plain)


def test_a_snapshot_is_a_copy_of_what_was_put_in() -> None:
    adapter = an_adapter(("to_q", "conv1"))
    with injected(tiny_base().denoiser, adapter.modules, alpha=3.0) as live:
        snapshot = live.snapshot()
        with torch.no_grad():
            for parameter in live.parameters():
                parameter.zero_()
    assert snapshot.scale == adapter.scale
    assert list(snapshot.modules) == sorted(adapter.modules)
    for name, factors in adapter.modules.items():
        assert torch.equal(snapshot.modules[name].a, factors.a)
        assert torch.equal(snapshot.modules[name].b, factors.b)


def test_only_the_factors_are_trainable_and_nothing_stays() -> None:
    denoiser, adapter = tiny_base().denoiser, an_adapter(("to_q", "conv1"))
    modules = dict(denoiser.named_modules())
    attributes = set(vars(denoiser))
    with injected(denoiser, adapter.modules, alpha=3.0) as live:
        trainable = {id(parameter) for parameter in denoiser.parameters() if parameter.requires_grad}
        assert trainable == {id(parameter) for parameter in live.parameters()}
        assert len(live.parameters()) == 2 * len(adapter.modules)
    assert dict(denoiser.named_modules()) == modules
    assert set(vars(denoiser)) == attributes
    assert not any(parameter.requires_grad for parameter in denoiser.parameters())


@pytest.mark.parametrize("frozen", ["none", "one", "all"])
def test_a_can_be_left_out_of_what_is_trained_module_by_module(frozen: str) -> None:
    denoiser, adapter = tiny_base().denoiser, an_adapter(("to_q", "conv1"))
    frozen_a = {"none": set(), "one": {min(adapter.modules)}, "all": set(adapter.modules)}[frozen]
    with injected(denoiser, adapter.modules, alpha=3.0, frozen_a=frozen_a) as live:
        outputs_with_gradients = denoiser(torch.ones(1, 4, 8, 8), torch.tensor([3]), torch.ones(1, 5, 32)).sample
        outputs_with_gradients.sum().backward()
        assert {name for name, factors in live.modules.items() if factors.a.grad is None} == frozen_a
        assert all(factors.b.grad is not None for factors in live.modules.values())
        trainable = {id(parameter) for parameter in denoiser.parameters() if parameter.requires_grad}
        assert trainable == {id(parameter) for parameter in live.trainable()}


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_bypassed_adapter_is_not_there_and_comes_back_as_it_was(count: int) -> None:
    denoiser, adapter = tiny_base().denoiser, an_adapter(("to_q", "conv1"))
    plain = outputs(denoiser)
    frozen_a = set(sorted(adapter.modules)[:count])
    with injected(denoiser, adapter.modules, alpha=3.0, frozen_a=frozen_a) as live:
        with_layers, trainable = outputs(denoiser), [id(parameter) for parameter in live.trainable()]
        with live.bypassed():
            assert torch.equal(outputs(denoiser), plain)
        with pytest.raises(KeyboardInterrupt), live.bypassed():
            raise KeyboardInterrupt
        assert torch.equal(outputs(denoiser), with_layers)
        assert [id(parameter) for parameter in live.trainable()] == trainable


def test_a_bypass_between_a_loss_and_its_gradient_does_not_touch_it() -> None:
    denoiser, adapter = tiny_base().denoiser, an_adapter(("to_q", "conv1"))
    gradients = []
    for bypasses in (False, True):
        with injected(denoiser, adapter.modules, alpha=3.0) as live:
            loss = denoiser(torch.ones(1, 4, 8, 8), torch.tensor([3]), torch.ones(1, 5, 32)).sample.sum()
            if bypasses:
                with live.bypassed():
                    outputs(denoiser)
            loss.backward()
            gradients.append([parameter.grad for parameter in live.parameters()])
    for plain, after in zip(*gradients, strict=True):
        assert plain is not None
        assert after is not None
        assert torch.equal(plain, after)


def test_a_path_that_ends_another_path_wraps_only_itself() -> None:
    denoiser = nn.ModuleDict({"to_q": nn.Linear(3, 3), "inner": nn.ModuleDict({"to_q": nn.Linear(3, 3)})})
    adapter = random_adapter({"to_q": (3, 3)}, 1, 1.0, seed=0)
    with injected(denoiser, adapter.modules, alpha=1.0):
        assert isinstance(denoiser.get_submodule("inner.to_q"), nn.Linear)
        assert not isinstance(denoiser.get_submodule("to_q"), nn.Linear)


def test_different_ranks_are_refused() -> None:
    factors = {
        "a": random_adapter({"a": (3, 3)}, 1, 1.0, seed=0).modules["a"],
        "b": random_adapter({"b": (3, 3)}, 2, 1.0, seed=0).modules["b"],
    }
    with pytest.raises(ValueError, match="ranks"), injected(tiny_base().denoiser, factors, alpha=1.0):
        pytest.fail("entered")
