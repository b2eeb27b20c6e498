"""The strategies' algebra once more, in numpy and fp64, and random adapters to try it on."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from app.domain.strategies import NaiveOptions
from worker.adapters.accumulated import ChainLink
from worker.adapters.factors import Adapter, Factors

Matrix = NDArray[np.float64]


def random_adapter(shapes: Mapping[str, tuple[int, int]], rank: int, scale: float, seed: int) -> Adapter:
    """Gaussian factors in fp32 of these (d_out, d_in) shapes."""
    generator = torch.Generator().manual_seed(seed)
    return Adapter(
        scale,
        {
            name: Factors(
                torch.randn((rank, d_in), generator=generator), torch.randn((d_out, rank), generator=generator)
            )
            for name, (d_out, d_in) in shapes.items()
        },
    )


def delta(adapter: Adapter, name: str) -> Matrix:
    """s B A in fp64."""
    factors = adapter.modules[name]
    product: Matrix = adapter.scale * (factors.b.double().numpy() @ factors.a.double().numpy())
    return product


def accumulated(chain: Sequence[ChainLink], name: str, shape: tuple[int, int]) -> Matrix:
    """D_t of one module: a sum over the links that count, where a naive link silences the naive ones just before it."""
    total = np.zeros(shape)
    for n, link in enumerate(chain):
        naive = isinstance(link.strategy, NaiveOptions)
        goes_on = n + 1 < len(chain) and isinstance(chain[n + 1].strategy, NaiveOptions)
        if not (naive and goes_on):
            total += delta(link.adapter, name)
    return total
