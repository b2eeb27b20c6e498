"""The strategies' algebra once more, in numpy and fp64, and random adapters to try it on."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from app.domain.strategies import MagnitudeOptions, NaiveOptions
from worker.adapters.accumulated import ChainLink
from worker.adapters.factors import Adapter, Factors

Matrix = NDArray[np.float64]


def random_adapter(
    shapes: Mapping[str, tuple[int, int]], rank: int, scale: float, seed: int, dtype: torch.dtype = torch.float32
) -> Adapter:
    """Gaussian factors of these (d_out, d_in) shapes; with an integer dtype, whole numbers in fp32."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        drawn = torch.randn(shape, generator=generator)
        return drawn.to(dtype) if dtype.is_floating_point else drawn.round()

    return Adapter(
        scale, {name: Factors(draw(rank, d_in), draw(d_out, rank)) for name, (d_out, d_in) in shapes.items()}
    )


def delta(adapter: Adapter, name: str) -> Matrix:
    """s B A in fp64."""
    factors = adapter.modules[name]
    product: Matrix = adapter.scale * (factors.b.double().numpy() @ factors.a.double().numpy())
    return product


def accumulated(chain: Sequence[ChainLink], name: str, shape: tuple[int, int]) -> Matrix:
    """D_t of one module: the updates of the links that count, each added, or by `magnitude` chosen where larger.

    A naive link silences the naive ones just before it; one that does not adapt the module leaves it as it is.
    """
    total = np.zeros(shape)
    for n, link in enumerate(chain):
        naive = isinstance(link.strategy, NaiveOptions)
        goes_on = n + 1 < len(chain) and isinstance(chain[n + 1].strategy, NaiveOptions)
        if (naive and goes_on) or name not in link.adapter.modules:
            continue
        own = delta(link.adapter, name)
        wins = np.abs(own) >= np.abs(total)
        total = np.where(wins, own, total) if isinstance(link.strategy, MagnitudeOptions) else total + own
    return total


def narrowest_choice(chain: Sequence[ChainLink], name: str, shape: tuple[int, int]) -> Matrix:
    """By how much, in each element, the closest choice of a `magnitude` link was won; infinite where none was made."""
    margin = np.full(shape, np.inf)
    for n, link in enumerate(chain):
        if isinstance(link.strategy, MagnitudeOptions) and name in link.adapter.modules:
            before = np.abs(accumulated(chain[:n], name, shape))
            margin = np.minimum(margin, np.abs(np.abs(delta(link.adapter, name)) - before))
    return margin
