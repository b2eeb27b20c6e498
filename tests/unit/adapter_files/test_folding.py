"""The adapter that a version is exported as computes the version's D, whatever strategies its chain has."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load

from app.adapter_files.export import Export, export_adapter
from app.adapter_files.folding import Link
from app.domain.errors import InvalidInputError
from app.domain.strategies import MagnitudeOptions, MergeOptions, NaiveOptions
from tests.unit.worker.adapters.oracle import accumulated, random_adapter
from tests.unit.worker.strategies.chains import Chain, chains
from worker.adapters.accumulated import ChainLink
from worker.adapters.factors import Adapter, to_bytes
from worker.strategies.replay import replay


def exported(chain: Chain, max_rank: int | None = None) -> bytes:
    links = [Link(link.strategy, to_bytes(link.adapter, {})) for link in chain.links]
    return export_adapter(links, Export(max_rank=max_rank))


def product(tensors: dict[str, NDArray[np.float32]], name: str) -> NDArray[np.float32]:
    found: NDArray[np.float32] = tensors[f"unet.{name}.lora_B.weight"] @ tensors[f"unet.{name}.lora_A.weight"]
    return found


def selects(chain: Chain, name: str) -> bool:
    """Whether a `magnitude` link found an update of that module beneath it, and none of a naive run gone on with."""
    alive = [
        link
        for link, later in zip(chain.links, [*chain.links[1:], None], strict=True)
        if not (later is not None and link.strategy.name == later.strategy.name == "naive")
    ]
    own = [link for link in alive if name in link.adapter.modules]
    return any(isinstance(link.strategy, MagnitudeOptions) for link in own[1:])


@given(chains(min_size=1))
def test_an_export_is_exact_or_refused(chain: Chain) -> None:
    """Only `magnitude` over an earlier update of the same module has no factors."""
    if any(selects(chain, name) for name in chain.shapes):
        with pytest.raises(InvalidInputError, match="Strategy magnitude selects") as e:
            exported(chain)
        assert [fault.field for fault in e.value.faults] == ["max_rank"]
        return
    tensors = load(exported(chain))
    update = replay(chain.links).update
    assert {key.split(".lora_")[0] for key in tensors} == {f"unet.{name}" for name in update}
    for name, d in update.items():
        np.testing.assert_allclose(product(tensors, name), d.numpy(), rtol=1e-4, atol=1e-5 * chain.largest(name))


@settings(max_examples=300)
@given(chains(dtype=torch.int64, min_size=1))
def test_torch_and_numpy_fold_every_chain_alike(chain: Chain) -> None:
    """In whole numbers, so that both choose alike where two updates are as large; at a rank that leaves nothing out."""
    update = replay(chain.links).update
    tensors = load(exported(chain, max_rank=12))
    assert {key.split(".lora_")[0] for key in tensors} == {f"unet.{name}" for name in update}
    for name, d in update.items():
        np.testing.assert_array_equal(d.double().numpy(), accumulated(chain.links, name, chain.shapes[name]))
        np.testing.assert_allclose(product(tensors, name), d.numpy(), atol=1e-4 * max(chain.largest(name), 1))


def test_magnitude_that_finds_nothing_beneath_is_exact() -> None:
    shapes = {"to_q": (6, 5), "to_k": (4, 3)}
    adapters = [random_adapter({name: shape}, 2, 1.0, 0) for name, shape in shapes.items()]
    links = [ChainLink(MergeOptions(), adapters[0]), ChainLink(MagnitudeOptions(), adapters[1])]
    tensors = load(exported(Chain(shapes, links)))
    for name, d in replay(links).update.items():
        np.testing.assert_allclose(product(tensors, name), d.numpy(), rtol=1e-5, atol=1e-5)


class Tuned(NaiveOptions):
    """A replacing strategy with an option that may change while its run goes on."""

    pace: int = 1


def test_a_run_goes_on_by_its_strategys_name_whatever_its_options() -> None:
    adapters = [random_adapter({"to_q": (6, 5)}, 2, 1.0, seed) for seed in range(2)]
    links = [ChainLink(Tuned(pace=pace), adapter) for pace, adapter in enumerate(adapters)]
    tensors = load(exported(Chain({"to_q": (6, 5)}, links)))
    for found in (product(tensors, "to_q"), replay(links).update["to_q"].numpy()):
        np.testing.assert_allclose(found, adapters[1].delta("to_q").numpy(), rtol=1e-5, atol=1e-5)


@given(chains(min_size=1), st.integers(1, 12))
def test_an_export_of_a_lower_rank_is_the_nearest_there_is_and_tells_how_near(chain: Chain, rank: int) -> None:
    data = exported(chain, rank)
    tensors, update = load(data), replay(chain.links).update
    total = missed = 0.0
    for name, d in update.items():
        values = np.linalg.svd(d.double().numpy(), compute_uv=False)
        largest = chain.largest(name) * max(d.shape)
        assert tensors[f"unet.{name}.lora_A.weight"].shape[0] <= rank
        error = np.linalg.norm(product(tensors, name) - d.numpy())
        assert error == pytest.approx(np.linalg.norm(values[rank:]), rel=1e-3, abs=1e-5 * largest)
        total, missed = total + np.square(values).sum(), missed + np.square(values[rank:]).sum()
    about = metadata(data)
    assert about["max_rank"] == str(rank)
    if total > 0:
        assert float(about["energy_captured"]) == pytest.approx(1 - missed / total, abs=1e-4)
        assert float(about["relative_error"]) == pytest.approx(np.sqrt(missed / total), abs=1e-2)


@pytest.mark.parametrize("shape", [(300, 260), (200, 400)])
def test_of_large_matrices_a_search_finds_as_good_a_rank_and_says_exactly_how_near(shape: tuple[int, int]) -> None:
    adapters = [random_adapter({"to_q": shape}, 16, 1.0, seed) for seed in range(3)]
    links = [Link(MagnitudeOptions(), to_bytes(adapter, {})) for adapter in adapters]
    d = replay([ChainLink(MagnitudeOptions(), adapter) for adapter in adapters]).update["to_q"].double().numpy()
    values = np.linalg.svd(d, compute_uv=False)
    for rank in (1, 8, 40):
        data = export_adapter(links, Export(max_rank=rank))
        assert data == export_adapter(links, Export(max_rank=rank))
        error = float(np.linalg.norm(product(load(data), "to_q") - d))
        assert error <= 1.001 * np.linalg.norm(values[rank:])
        assert float(metadata(data)["relative_error"]) == pytest.approx(error / np.linalg.norm(d), abs=2e-6)
        assert float(metadata(data)["energy_captured"]) == pytest.approx(1 - (error / np.linalg.norm(d)) ** 2, abs=2e-6)


def metadata(data: bytes) -> dict[str, str]:
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    about: dict[str, str] = json.loads(header["__metadata__"]["palimpsest"])
    return about


def test_a_rank_that_is_high_enough_leaves_nothing_out() -> None:
    """Also of a convolution, whose factors keep their kernel's dimensions."""
    shapes = {"conv": (6, 4 * 3 * 3)}
    adapters = [random_adapter(shapes, 2, 0.5, seed) for seed in range(2)]
    kept = [Adapter(0.5, {"conv": replace(a.modules["conv"], kernel=(3, 3))}) for a in adapters]
    for strategy in (MergeOptions(), MagnitudeOptions()):
        links = [Link(strategy, to_bytes(adapter, {})) for adapter in kept]
        tensors = load(export_adapter(links, Export(max_rank=6)))
        a, b = tensors["unet.conv.lora_A.weight"], tensors["unet.conv.lora_B.weight"]
        assert a.shape[1:] == (4, 3, 3)
        assert b.shape[2:] == (1, 1)
        d = replay([ChainLink(strategy, adapter) for adapter in kept]).update["conv"]
        np.testing.assert_allclose(b[:, :, 0, 0] @ a.reshape(len(a), -1), d, atol=1e-5)


def test_another_denoisers_names_begin_with_its_own() -> None:
    data = to_bytes(random_adapter({"blocks.0.to_q": (4, 5)}, 2, 1.0, 0), {})
    tensors = load(export_adapter([Link(MergeOptions(), data)], Export(denoiser="transformer")))
    assert {key.split(".blocks")[0] for key in tensors} == {"transformer"}
