"""CLIP's vision tower as OpenAI wrote it down, without its last projection: the oracle for CSD's weights.

Names and computation follow https://github.com/openai/CLIP/blob/main/clip/model.py.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn


class _QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // 64)
        self.ln_1 = nn.LayerNorm(width)
        into, out_of = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        widened = [("c_fc", into), ("gelu", _QuickGELU()), ("c_proj", out_of)]
        self.mlp = nn.Sequential(OrderedDict[str, nn.Module](widened))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        result: Tensor = x + self.mlp(self.ln_2(x))
        return result


class OpenAITower(nn.Module):
    def __init__(self, width: int, layers: int, patch: int, side: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn((side // patch) ** 2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        blocks = nn.Sequential(*(_Block(width) for _ in range(layers)))
        self.transformer = nn.Sequential(OrderedDict[str, nn.Module](resblocks=blocks))
        self.ln_post = nn.LayerNorm(width)

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 3, side, side) -> (n, width)."""
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(patches), 1, -1), patches], dim=1)
        x = self.ln_pre(x + self.positional_embedding)
        x = self.transformer(x.transpose(0, 1)).transpose(0, 1)
        feature: Tensor = self.ln_post(x[:, 0])
        return feature
