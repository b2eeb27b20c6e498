"""UNets of SD 1.5, SD 2.1 and SDXL: at full size without memory, and as narrow ones with all their layers."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn

_SD: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "layers_per_block": 2,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "sd15": {**_SD, "cross_attention_dim": 768, "attention_head_dim": 8},
    "sd21": {
        **_SD,
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    "sdxl": {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 2,
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
_NAMES = Path(__file__).parent / "names"

Row = tuple[str, tuple[int, ...], str, frozenset[str]]
"""A layer's path, the shape of its weight, a name for it in kohya's form, and the tools that take that name."""


@cache
def full_size(base: str) -> nn.Module:
    """The UNet with weights of zero, each of which is a single number that is shown at every place."""
    with torch.device("meta"):
        unet: nn.Module = UNet2DConditionModel(**CONFIGS[base])
    for module in unet.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            shown = torch.zeros(()).expand(module.weight.shape)
            module.weight = nn.Parameter(shown, requires_grad=False)
    return unet


@cache
def names(base: str) -> list[Row]:
    """The vendored list of that base."""
    rows = []
    for line in (_NAMES / f"{base}.tsv").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            path, shape, name, tools = line.split("\t")
            rows.append((path, tuple(map(int, shape.split("x"))), name, frozenset(tools.split(","))))
    return rows
