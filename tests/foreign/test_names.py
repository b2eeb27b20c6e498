"""Every name that an export writes is one that the tools take, and every name that they take is understood.

The lists in `names/` were read out of the tools' own code; they are the oracle.
"""

import numpy as np
import pytest
from safetensors.numpy import load, save
from torch import nn

from app.adapter_files.export import Export, export_adapter
from app.adapter_files.folding import A, B, Link
from app.domain.adapters import AdapterFormat, ImportOptions
from app.domain.base_models import Family
from app.domain.strategies import MergeOptions
from tests.foreign.shapes import CONFIGS, full_size, names
from worker.adapters.imported import import_adapter, layer_paths

TOOLS = {"a1111", "comfyui", "sd-scripts"}
# sd-scripts adapts what lies in blocks, and nothing beside them, under any name.
BESIDE_BLOCKS = ("conv_in", "conv_out", "time_embedding.", "add_embedding.")
SIZES = {"sd15": 282, "sd21": 282, "sdxl": 794}


def family(base: str) -> Family:
    return Family.SDXL if base == "sdxl" else Family.SD


def stored(shapes: dict[str, tuple[int, ...]]) -> bytes:
    """A worker's adapter of rank 1 for those layers."""
    draw = np.random.default_rng(0)
    tensors = {}
    for path, (d_out, d_in, *kernel) in shapes.items():
        tensors[f"unet.{path}{A}"] = draw.standard_normal((1, d_in, *kernel)).astype(np.float32)
        up = draw.standard_normal((d_out, 1, *(1 for _ in kernel)))
        tensors[f"unet.{path}{B}"] = (0.01 * up).astype(np.float32)
    return save(tensors, metadata={"scale": "0.5", "format": "palimpsest-adapter-1"})


@pytest.mark.parametrize("base", CONFIGS)
def test_the_lists_are_of_the_layers_of_diffusers(base: str) -> None:
    unet = full_size(base)
    layers = {path: tuple(m.weight.shape) for path, m in unet.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    assert layers == {path: shape for path, shape, *_ in names(base)}
    assert len(layers) == SIZES[base]


@pytest.mark.parametrize("base", CONFIGS)
def test_every_tool_takes_every_layer_of_a_kohya_export(base: str) -> None:
    rows = names(base)
    shapes = {path: shape for path, shape, *_ in rows}
    by_name = {name: (path, tools) for path, _, name, tools in rows}
    data = export_adapter([Link(MergeOptions(), stored(shapes))], Export(AdapterFormat.KOHYA, family(base)))
    tensors, own = load(data), load(stored(shapes))
    written = {name.removesuffix(".alpha") for name in tensors if name.endswith(".alpha")}
    assert {by_name[name][0] for name in written} == set(shapes)
    for name in written:
        path, tools = by_name[name]
        left_out = {"sd-scripts"} if path.startswith(BESIDE_BLOCKS) else set()
        assert tools == TOOLS - left_out, name
        up, down = tensors[f"{name}.lora_up.weight"], tensors[f"{name}.lora_down.weight"]
        assert (up.shape[0], down.shape[1:]) == (shapes[path][0], shapes[path][1:])
        # delta = D, of a few entries of each layer: the whole matrices have 2.6 billion.
        rank = down.shape[0]
        found = tensors[f"{name}.alpha"] / rank * up.reshape(-1, rank)[:7] @ down.reshape(rank, -1)[:, :11]
        wanted = 0.5 * own[f"unet.{path}{B}"].reshape(-1, 1)[:7] @ own[f"unet.{path}{A}"].reshape(1, -1)[:, :11]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("base", CONFIGS)
def test_every_name_that_a_tool_takes_is_understood(base: str) -> None:
    paths = layer_paths(full_size(base))
    for path, _, name, _ in names(base):
        assert paths[name.removeprefix("lora_unet_")] == path


@pytest.mark.parametrize("kind", list(AdapterFormat))
@pytest.mark.parametrize("base", CONFIGS)
def test_an_export_at_full_size_comes_back(base: str, kind: AdapterFormat) -> None:
    """Each layer's factors, to the bit, and so its update."""
    shapes = {path: shape for path, shape, *_ in names(base)}
    file = stored(shapes)
    data = export_adapter([Link(MergeOptions(), file)], Export(kind, family(base)))
    found = import_adapter(data, full_size(base), ImportOptions()).adapter
    own = load(file)
    assert found.modules.keys() == shapes.keys()
    for path, factors in found.modules.items():
        a, b = own[f"unet.{path}{A}"], own[f"unet.{path}{B}"]
        np.testing.assert_array_equal(factors.a.numpy(), a.reshape(1, -1))
        np.testing.assert_array_equal(found.scale * factors.b.numpy(), np.float32(0.5) * b.reshape(-1, 1))
