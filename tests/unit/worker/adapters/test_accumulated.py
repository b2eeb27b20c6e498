"""Putting an update on a base and taking it off again."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.unit.worker.adapters.oracle import random_adapter
from worker.adapters.accumulated import Update, UpdateMismatchError, added, applied


def a_denoiser(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Conv2d(2, 3, 3), nn.ReLU()).to(dtype).requires_grad_(False)


def weight_of(denoiser: nn.Module, name: str) -> torch.Tensor:
    return denoiser.get_parameter(f"{name}.weight")


def an_update() -> Update:
    return added({}, random_adapter({"0": (6, 4), "1": (3, 18)}, 2, 0.5, seed=1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_w0_plus_d_within_and_w0_after(dtype: torch.dtype) -> None:
    denoiser, update = a_denoiser(dtype), an_update()
    before = {name: tensor.clone() for name, tensor in denoiser.state_dict().items()}
    identities = {name: id(parameter) for name, parameter in denoiser.named_parameters()}
    with applied(denoiser, update):
        for name in ("0", "1"):
            w0 = before[f"{name}.weight"].float().numpy()
            expected = torch.from_numpy(w0 + update[name].numpy().reshape(w0.shape)).to(dtype)
            assert torch.equal(weight_of(denoiser, name), expected)
        assert not any(parameter.requires_grad for parameter in denoiser.parameters())
    after = denoiser.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert {name: id(parameter) for name, parameter in denoiser.named_parameters()} == identities


def test_w0_also_after_an_exception() -> None:
    denoiser = a_denoiser()
    weight = weight_of(denoiser, "0")
    with pytest.raises(KeyboardInterrupt), applied(denoiser, an_update()):
        raise KeyboardInterrupt
    assert weight_of(denoiser, "0") is weight


def test_updates_nest() -> None:
    denoiser, update = a_denoiser(), an_update()
    w0 = weight_of(denoiser, "0").clone()
    with applied(denoiser, update):
        with applied(denoiser, update):
            np.testing.assert_allclose(weight_of(denoiser, "0"), w0 + 2 * update["0"], rtol=1e-5, atol=1e-6)
        assert torch.equal(weight_of(denoiser, "0"), w0 + update["0"])
    assert torch.equal(weight_of(denoiser, "0"), w0)


def test_an_update_can_be_lifted_for_a_while() -> None:
    denoiser, update = a_denoiser(), an_update()
    originals = {name: weight_of(denoiser, name) for name in update}
    with applied(denoiser, update) as on:
        shifted = {name: weight_of(denoiser, name) for name in update}
        with on.lifted():
            assert all(weight_of(denoiser, name) is originals[name] for name in update)
        with pytest.raises(KeyboardInterrupt), on.lifted():
            raise KeyboardInterrupt
        assert all(weight_of(denoiser, name) is shifted[name] for name in update)
    assert all(weight_of(denoiser, name) is originals[name] for name in update)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("5", (6, 4), "has no module 5"),
        ("2", (6, 4), "neither a linear"),
        ("0", (4, 6), "0 has shape"),
        ("1", (3, 9), "1 has shape"),
    ],
)
def test_a_foreign_update_changes_nothing(name: str, shape: tuple[int, int], message: str) -> None:
    denoiser = a_denoiser()
    weight = weight_of(denoiser, "0")
    foreign = {**an_update(), name: torch.ones(shape)}
    with pytest.raises(UpdateMismatchError, match=message), applied(denoiser, foreign):
        pytest.fail("entered")
    assert weight_of(denoiser, "0") is weight


class Allocated(TorchDispatchMode):
    """Within it: the bytes of all new tensors that are alive, and the most that there were at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        known = {part.untyped_storage().data_ptr() for part in args if isinstance(part, torch.Tensor)}
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.untyped_storage().data_ptr() not in known:
            storage = made.untyped_storage()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._free, storage.nbytes())
        return made

    def _free(self, size: int) -> None:
        self.now -= size


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_applied_update_costs_one_more_copy_of_the_adapted_projections(dtype: torch.dtype) -> None:
    """And what the sum of one projection needs while it is made; nothing stays behind."""
    width, names = 64, [str(n) for n in range(12)]
    denoiser = nn.Sequential(*(nn.Linear(width, width) for _ in names)).to(dtype).requires_grad_(False)
    update = added({}, random_adapter(dict.fromkeys(names, (width, width)), 2, 0.5, seed=1))
    copy = len(names) * width * width * dtype.itemsize
    one_sum = 2 * width * width * torch.float32.itemsize
    with Allocated() as allocated:
        for _ in range(3):
            with applied(denoiser, update) as on:
                assert allocated.now == copy
                with on.lifted():
                    assert allocated.now == copy
            assert allocated.now == 0
    assert copy <= allocated.peak <= copy + one_sum
