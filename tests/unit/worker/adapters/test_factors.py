"""Adapter files: what goes in comes out, the same contents are the same bytes, and nothing else is accepted."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from tests.unit.worker.adapters.oracle import delta, random_adapter
from worker.adapters.factors import FORMAT, Adapter, AdapterFormatError, Factors, from_bytes, to_bytes

SHAPES = {"down.attn.to_q": (6, 4), "down.attn.to_out.0": (4, 9), "mid.conv": (3, 18)}


@given(rank=st.integers(1, 5), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_an_adapter_survives_its_file(rank: int, scale: float, seed: int) -> None:
    adapter = random_adapter(SHAPES, rank, scale, seed)
    again = from_bytes(to_bytes(adapter, {"any": "text"}))
    assert again.scale == adapter.scale
    assert list(again.modules) == sorted(SHAPES)
    for name, factors in adapter.modules.items():
        assert torch.equal(again.modules[name].a, factors.a)
        assert torch.equal(again.modules[name].b, factors.b)


@given(rank=st.integers(1, 5), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_delta_is_s_b_a(rank: int, scale: float, seed: int) -> None:
    adapter = random_adapter(SHAPES, rank, scale, seed)
    for name in SHAPES:
        expected = delta(adapter, name)
        np.testing.assert_allclose(adapter.delta(name).numpy(), expected, rtol=1e-5, atol=1e-5 * abs(expected).max())


@given(rank=st.integers(1, 5), height=st.integers(1, 3), width=st.integers(1, 3))
def test_a_convolution_keeps_its_four_dimensions_in_the_file(rank: int, height: int, width: int) -> None:
    a, b = torch.randn((rank, 4, height, width)), torch.randn((6, rank, 1, 1))
    factors = Factors.of(a, b)
    assert factors.a.shape == (rank, 4 * height * width)
    tensors = load(to_bytes(Adapter(1.0, {"conv": factors}), {}))
    assert torch.equal(tensors["unet.conv.lora_A.weight"], a)
    assert torch.equal(tensors["unet.conv.lora_B.weight"], b)
    again = from_bytes(to_bytes(Adapter(1.0, {"conv": factors}), {})).modules["conv"]
    assert again.kernel == (height, width)
    assert torch.equal(again.a, factors.a)
    assert torch.equal(again.b, factors.b)


def test_the_keys_are_those_of_the_format() -> None:
    tensors = load(to_bytes(random_adapter({"mid.to_q": (6, 4)}, 2, 1.0, 0), {}))
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert shapes == {"unet.mid.to_q.lora_A.weight": (2, 4), "unet.mid.to_q.lora_B.weight": (6, 2)}


def test_bytes_depend_on_contents_alone() -> None:
    adapter = random_adapter(SHAPES, 2, 0.5, 0)
    metadata = {f"key{n}": str(n) for n in range(20)}
    turned_round = Adapter(0.5, dict(reversed(adapter.modules.items())))
    data = to_bytes(adapter, metadata)
    # safetensors keeps metadata in maps, each of which has a random order of its own.
    assert {to_bytes(adapter, metadata) for _ in range(9)} == {data}
    assert to_bytes(turned_round, dict(reversed(metadata.items()))) == data
    assert to_bytes(adapter, metadata | {"key0": "other"}) != data


def test_not_finite_is_seen() -> None:
    adapter = random_adapter(SHAPES, 2, 1.0, 0)
    assert adapter.is_finite()
    adapter.modules["mid.conv"].b[1, 1] = torch.inf
    assert not adapter.is_finite()


def test_own_metadata_cannot_be_overwritten() -> None:
    with pytest.raises(ValueError, match="scale"):
        to_bytes(random_adapter(SHAPES, 1, 1.0, 0), {"scale": "2"})


A, B = "unet.x.lora_A.weight", "unet.x.lora_B.weight"
GOOD = {A: torch.zeros(2, 3), B: torch.zeros(4, 2)}
TEXTS = {"format": FORMAT, "scale": "1.0"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04 surely not", "not a safetensors file"),
        (b"", "not a safetensors file"),
        (save(GOOD, TEXTS)[:-4], "not a safetensors file"),
        (save(GOOD), "not of the format"),
        (save(GOOD, TEXTS | {"format": "other"}), "not of the format"),
        (save({A: GOOD[A]}, TEXTS), "x has no lora_B"),
        (save(GOOD | {B: torch.zeros(4, 3)}, TEXTS), "have no product"),
        (save(GOOD | {B: torch.zeros(4, 2, 1, 1)}, TEXTS), "have no product"),
        (save(GOOD | {A: GOOD[A].half()}, TEXTS), "is not a factor in fp32"),
        (save(GOOD | {"other": torch.zeros(1)}, TEXTS), "other is not a factor"),
        (save(GOOD, {"format": FORMAT}), "the scale None"),
        (save(GOOD, TEXTS | {"scale": "nan"}), "the scale 'nan'"),
        (save(GOOD, TEXTS | {"scale": "-1"}), "the scale '-1'"),
        (save(GOOD, TEXTS | {"scale": "big"}), "the scale 'big'"),
    ],
)
def test_what_is_no_adapter_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(AdapterFormatError, match=message):
        from_bytes(data)


def test_factors_have_a_product() -> None:
    with pytest.raises(AdapterFormatError, match="no product"):
        Factors(torch.zeros(2, 3), torch.zeros(4, 3))
