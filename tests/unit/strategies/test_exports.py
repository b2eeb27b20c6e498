"""The adapter that a version is exported as computes the version's D, whatever strategies its chain has."""

import numpy as np
import pytest
from hypothesis import given
from safetensors.numpy import load

from app.domain.errors import ConflictError
from app.domain.strategies import MagnitudeOptions
from app.services.adapter_export import AdapterFormat, Link, export_adapter
from tests.unit.strategies.chains import Chain, chains
from worker.adapters.factors import to_bytes
from worker.strategies.replay import replay


def exported(chain: Chain) -> bytes:
    links = [Link(link.strategy, to_bytes(link.adapter, {})) for link in chain.links]
    return export_adapter(links, AdapterFormat.DIFFUSERS, {})


@given(chains(min_size=1))
def test_an_export_is_exact_or_refused(chain: Chain) -> None:
    """Only `magnitude` over earlier updates has no factors; a first task of it has its own."""
    if any(isinstance(link.strategy, MagnitudeOptions) for link in chain.links[1:]):
        with pytest.raises(ConflictError, match="strategy magnitude selects weight by weight"):
            exported(chain)
        return
    tensors = load(exported(chain))
    update = replay(chain.links).update
    assert {key.split(".lora_")[0] for key in tensors} == {f"unet.{name}" for name in update}
    for name, d in update.items():
        product = tensors[f"unet.{name}.lora_B.weight"] @ tensors[f"unet.{name}.lora_A.weight"]
        np.testing.assert_allclose(product, d.numpy(), rtol=1e-4, atol=1e-5 * chain.largest(name))
