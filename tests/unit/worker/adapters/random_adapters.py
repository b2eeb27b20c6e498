"""Adapters that nobody trained, for whatever layers there are."""

from collections.abc import Mapping

import torch
from torch import nn

from worker.adapters.factors import Adapter, Factors


def random_adapter(
    projections: Mapping[str, nn.Linear | nn.Conv2d], rank: int, seed: int, scale: float = 1.0
) -> Adapter:
    """Gaussian factors of that rank for each layer; neither is zero, as B would be at the start of a training."""
    draw = torch.Generator().manual_seed(seed)
    factors = {}
    for name, projection in projections.items():
        d_out, *inputs = projection.weight.shape
        a = 0.1 * torch.randn((rank, *inputs), generator=draw)
        factors[name] = Factors.of(a, 0.3 * torch.randn((d_out, rank, *(1 for _ in inputs[1:])), generator=draw))
    return Adapter(scale, factors)
