"""Diffusers loads both formats of an export, and then computes what the version computes."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from app.adapter_files.export import Export, export_adapter
from app.adapter_files.folding import Link
from app.domain.adapters import AdapterFormat
from app.domain.strategies import MergeOptions
from tests.tiny_pipelines import tiny_sd
from worker.adapters.accumulated import added, applied
from worker.adapters.factors import Adapter, Factors, to_bytes
from worker.models.projections import adapted_projections


@pytest.mark.parametrize("names", [("to_q", "to_k", "to_v", "to_out.0"), ("to_q", "conv1", "conv_shortcut")])
@pytest.mark.parametrize("kind", list(AdapterFormat))
def test_diffusers_loads_an_export(kind: AdapterFormat, names: tuple[str, ...], tmp_path: Path) -> None:
    pipe = tiny_sd()
    projections = adapted_projections(pipe.unet, names)
    adapters = [_random_adapter(projections, seed) for seed in range(2)]
    inputs = _inputs(pipe.unet.config.in_channels, pipe.unet.config.cross_attention_dim)

    update = added(added({}, adapters[0]), adapters[1])
    with torch.no_grad(), applied(pipe.unet, update):
        expected = pipe.unet(**inputs).sample
    with torch.no_grad():
        base = pipe.unet(**inputs).sample

    links = [Link(MergeOptions(), to_bytes(adapter, {})) for adapter in adapters]
    (tmp_path / "adapter.safetensors").write_bytes(export_adapter(links, Export(kind)))
    pipe.load_lora_weights(tmp_path, weight_name="adapter.safetensors")
    with torch.no_grad():
        found = pipe.unet(**inputs).sample

    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert (expected - base).abs().max() > 1e-2


def _random_adapter(projections: Mapping[str, nn.Linear | nn.Conv2d], seed: int) -> Adapter:
    draw = torch.Generator().manual_seed(seed)
    rank = 2 + seed
    factors = {}
    for name, projection in projections.items():
        d_out, *inputs = projection.weight.shape
        a = 0.1 * torch.randn((rank, *inputs), generator=draw)
        factors[name] = Factors.of(a, 0.3 * torch.randn((d_out, rank, *(1 for _ in inputs[1:])), generator=draw))
    return Adapter(scale=0.5 + seed, modules=factors)


def _inputs(channels: int, width: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(7)
    return {
        "sample": torch.randn((1, channels, 8, 8), generator=draw),
        "timestep": torch.tensor(400),
        "encoder_hidden_states": torch.randn((1, 6, width), generator=draw),
    }
