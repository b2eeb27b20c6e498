"""An import is looked at once under the base that it is for."""

from collections.abc import Callable

import pytest
import torch

from app.domain.errors import InvalidAdapterError
from tests.tiny_pipelines import tiny_base
from tests.tiny_sdxl import tiny_sdxl_base
from worker.adapters.factors import Adapter, Factors
from worker.adapters.probe import probe
from worker.models.base import Base

LAYER = "mid_block.resnets.0.conv1"


def adapter(base: Base, size: float) -> Adapter:
    """Of rank 1 for one layer, with equal numbers everywhere."""
    d_out, d_in = base.denoiser.get_parameter(f"{LAYER}.weight").flatten(1).shape
    return Adapter(1.0, {LAYER: Factors(torch.full((1, d_in), size), torch.full((d_out, 1), size))})


@pytest.mark.parametrize("base", [tiny_base, tiny_sdxl_base])
def test_what_overflows_in_the_base_is_refused_and_leaves_no_trace(base: Callable[[], Base]) -> None:
    weight = base().denoiser.get_parameter(f"{LAYER}.weight")
    before = weight.clone()
    probe(base(), adapter(base(), 0.1))
    with pytest.raises(InvalidAdapterError, match="overflow"):
        probe(base(), adapter(base(), 1e19))
    assert torch.equal(base().denoiser.get_parameter(f"{LAYER}.weight"), before)
