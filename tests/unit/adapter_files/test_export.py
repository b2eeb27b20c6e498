"""An export equals the accumulated update D of docs/strategies.md, computed here densely."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from app.adapter_files.export import Export, export_adapter
from app.adapter_files.folding import Link
from app.domain.adapters import AdapterFormat
from app.domain.errors import StorageError
from app.domain.strategies import MergeOptions, NaiveOptions, StrategyOptions

MERGE, NAIVE = MergeOptions(), NaiveOptions()
SHAPES = {"down.0.to_q": (6, 5), "down.0.to_out.0": (4, 7)}

Update = dict[str, NDArray[np.float32]]


def task(seed: int, strategy: StrategyOptions, rank: int, scale: float, modules: Sequence[str]) -> tuple[Link, Update]:
    """A stored adapter, and the update `s B A` that it stands for."""
    draw = np.random.default_rng(seed)
    tensors: Update = {}
    update: Update = {}
    for name in modules:
        d_out, d_in = SHAPES[name]
        a = draw.standard_normal((rank, d_in)).astype(np.float32)
        b = draw.standard_normal((d_out, rank)).astype(np.float32)
        tensors |= {f"unet.{name}.lora_A.weight": a, f"unet.{name}.lora_B.weight": b}
        update[name] = np.float32(scale) * (b @ a)
    return Link(strategy, save(tensors, metadata={"scale": repr(scale), "format": "palimpsest-adapter-1"})), update


def accumulated(updates: Sequence[Update]) -> Update:
    total: Update = {}
    for update in updates:
        for name, delta in update.items():
            total[name] = total.get(name, np.zeros_like(delta)) + delta
    return total


def products(data: bytes, kind: AdapterFormat) -> Update:
    """What a consumer computes from an export."""
    tensors = load(data)
    if kind is AdapterFormat.DIFFUSERS:
        return {
            name: tensors[f"unet.{name}.lora_B.weight"] @ tensors[f"unet.{name}.lora_A.weight"]
            for name in SHAPES
            if f"unet.{name}.lora_A.weight" in tensors
        }
    found = {}
    for name in SHAPES:
        prefix = "lora_unet_" + name.replace(".", "_")
        down = tensors[f"{prefix}.lora_down.weight"]
        scale = float(tensors[f"{prefix}.alpha"]) / down.shape[0]
        found[name] = scale * (tensors[f"{prefix}.lora_up.weight"] @ down)
    return found


# The chain's strategies, and which of its updates D is the sum of.
CHAINS = [
    ([MERGE], [0]),
    ([MERGE, MERGE, MERGE], [0, 1, 2]),
    ([NAIVE], [0]),
    ([NAIVE, NAIVE, NAIVE], [2]),
    ([MERGE, MERGE, NAIVE, NAIVE], [0, 1, 3]),
    ([NAIVE, NAIVE, MERGE], [1, 2]),
    ([NAIVE, NAIVE, MERGE, NAIVE, NAIVE], [1, 2, 4]),
]


@pytest.mark.parametrize("kind", list(AdapterFormat))
@pytest.mark.parametrize(("chain", "kept"), CHAINS)
def test_an_export_is_the_accumulated_update(
    chain: Sequence[StrategyOptions], kept: Sequence[int], kind: AdapterFormat
) -> None:
    tasks = [
        task(seed, strategy, rank=2 + seed, scale=0.5 + seed, modules=list(SHAPES))
        for seed, strategy in enumerate(chain)
    ]
    data = export_adapter([link for link, _ in tasks], Export(kind), {})
    expected = accumulated([tasks[number][1] for number in kept])
    found = products(data, kind)
    assert found.keys() == expected.keys()
    for name, delta in expected.items():
        np.testing.assert_allclose(found[name], delta, rtol=1e-4, atol=1e-4)


def test_tasks_may_adapt_different_modules() -> None:
    tasks = [task(0, MERGE, 2, 1.0, ["down.0.to_q"]), task(1, MERGE, 3, 1.0, ["down.0.to_out.0"])]
    found = products(export_adapter([link for link, _ in tasks], Export(), {}), AdapterFormat.DIFFUSERS)
    for name, delta in accumulated([update for _, update in tasks]).items():
        np.testing.assert_allclose(found[name], delta, rtol=1e-5, atol=1e-5)


def test_the_same_chain_gives_the_same_bytes_and_says_what_it_is() -> None:
    links = [task(seed, MERGE, 2, 1.0, list(SHAPES))[0] for seed in range(2)]
    about = {"version": "2", "lineage_id": "x", "concepts": "<rex>"}
    data = export_adapter(links, Export(), about)
    assert data == export_adapter(links, Export(), dict(reversed(about.items())))
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert json.loads(header["__metadata__"]["palimpsest"]) == about


def test_what_no_worker_wrote_is_refused() -> None:
    a = np.zeros((2, 5), np.float32)
    without_scale = save({"unet.x.lora_A.weight": a, "unet.x.lora_B.weight": a.T.copy()}, metadata={"format": "x"})
    without_pair = save({"unet.x.lora_A.weight": a}, metadata={"scale": "1.0"})
    for data in (without_scale, without_pair, b"", b"no safetensors at all"):
        with pytest.raises(StorageError):
            export_adapter([Link(MERGE, data)], Export(), {})
