"""Files go out to other tools and come back from them as the same update: `make foreign`.

The other tools run in an environment of their own, whose python `FOREIGN_PYTHON` names.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load, load_file
from torch import Tensor, nn

from app.adapter_files.export import Export, export_adapter
from app.adapter_files.folding import Link
from app.adapter_files.scales import read_config
from app.domain.adapters import AdapterFormat, ImportOptions
from app.domain.strategies import MergeOptions
from tests.foreign.inside_methods import METHODS, SCALES, SIGNS
from tests.foreign.shapes import CONFIGS
from tests.foreign.test_names import family
from tests.unit.worker.adapters.random_adapters import random_adapter
from worker.adapters.accumulated import added
from worker.adapters.factors import to_bytes
from worker.adapters.imported import import_adapter

PYTHON = os.environ.get("FOREIGN_PYTHON")
pytestmark = pytest.mark.skipif(PYTHON is None, reason="make foreign names the other environment")
KINDS = [kind.value for kind in AdapterFormat]


def narrow(base: str) -> dict[str, Any]:
    """The configuration of a UNet with all the layers of that base, each of few channels."""
    config = {**CONFIGS[base], "cross_attention_dim": 32, "attention_head_dim": 8}
    config["block_out_channels"] = (32, 64, 64, 64)[: len(config["block_out_channels"])]
    if base == "sdxl":
        config |= {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 72}
    return config


def chain(base: str) -> tuple[list[Link], Mapping[str, Tensor]]:
    """Two versions that adapt different layers at different ranks, and their update."""
    unet = UNet2DConditionModel(**narrow(base))
    blocks = {path: m for path, m in unet.named_modules() if isinstance(m, nn.Linear | nn.Conv2d) and "blocks" in path}
    some = {path: module for path, module in blocks.items() if "attn" in path}
    adapters = [random_adapter(blocks, 2, 0, 0.5), random_adapter(some, 3, 1)]
    update: Mapping[str, Tensor] = {}
    for adapter in adapters:
        update = added(update, adapter)
    return [Link(MergeOptions(), to_bytes(adapter, {})) for adapter in adapters], update


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our exports, and beside them all that the other tools made of them."""
    root = tmp_path_factory.mktemp("foreign")
    for base in CONFIGS:
        (root / base).mkdir()
        (root / base / "unet.json").write_text(json.dumps(narrow(base)))
        links, _ = chain(base)
        for kind in AdapterFormat:
            (root / base / f"{kind.value}.safetensors").write_bytes(export_adapter(links, Export(kind, family(base))))
    assert PYTHON is not None
    subprocess.run(
        [PYTHON, Path(__file__).parent / "inside.py", root], check=True, env={**os.environ, "PYTHONPATH": ""}
    )
    return root


def insist_on_same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], tolerance: float = 1e-6) -> None:
    assert found.keys() == wanted.keys()
    for path, delta in wanted.items():
        torch.testing.assert_close(found[path].flatten(1), delta.flatten(1), rtol=1e-5, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("base", CONFIGS)
def test_an_older_diffusers_computes_what_the_version_does(folder: Path, base: str, kind: str) -> None:
    insist_on_same(load_file(folder / base / f"{kind}.found.safetensors"), chain(base)[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("base", CONFIGS)
@pytest.mark.parametrize("saved", ["saved", "peft"])
def test_what_it_saves_comes_back(folder: Path, base: str, kind: str, saved: str) -> None:
    """diffusers' file alone, and peft's with its configuration."""
    config = read_config((folder / base / f"{kind}.config.json").read_bytes())
    options = ImportOptions(config=config) if saved == "peft" else ImportOptions()
    data = (folder / base / f"{kind}.{saved}.safetensors").read_bytes()
    found = import_adapter(data, UNet2DConditionModel(**narrow(base)), options)
    insist_on_same(added({}, found.adapter), chain(base)[1])


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("method", METHODS)
def test_what_lycoris_trains_is_imported_as_it_computes_it(folder: Path, method: str, scale: float) -> None:
    """`y(x)` of each layer with LyCORIS on, less `y(x)` without: that is `D x`."""
    unet = UNet2DConditionModel(**narrow("sd15"))
    unet.load_state_dict(load_file(folder / "sd15" / "unet.safetensors"))
    stem = folder / "sd15" / f"lycoris-{method}-{scale}"
    data = stem.with_name(f"{stem.name}.safetensors").read_bytes()
    assert any(name.endswith(f".{SIGNS[method]}") for name in load(data))
    update = added({}, import_adapter(data, unet, ImportOptions()).adapter)
    seen = load_file(stem.with_name(f"{stem.name}.seen.safetensors"))
    assert {name.rpartition(".")[0] for name in seen} == update.keys()
    for path, delta in update.items():
        found = _through(unet.get_submodule(path), delta.double(), seen[f"{path}.x"])
        torch.testing.assert_close(found, seen[f"{path}.y"], rtol=1e-5, atol=1e-5)


def _through(layer: nn.Module, delta: Tensor, x: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return x @ delta.T
    assert isinstance(layer, nn.Conv2d)
    padding, stride = layer.padding, layer.stride
    assert not isinstance(padding, str)
    return nn.functional.conv2d(x, delta.view_as(layer.weight), None, stride, padding)
