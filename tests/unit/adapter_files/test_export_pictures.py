"""Plain diffusers, with an export loaded, draws the picture that Palimpsest draws: every strategy, both families."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.adapter_files.export import Export, export_adapter
from app.adapter_files.folding import Link
from app.domain.adapters import AdapterFormat
from app.domain.base_models import Family
from app.domain.strategies import STRATEGIES, Fold, StrategyOptions
from tests.tiny_pipelines import tiny_sd
from tests.tiny_sdxl import tiny_sdxl
from tests.unit.worker.adapters.oracle import random_adapter
from tests.unit.worker.training.helpers import ATTENTION
from worker.adapters.accumulated import ChainLink, Update, applied
from worker.adapters.factors import to_bytes
from worker.models.projections import adapted_projections, projection_shape
from worker.strategies.replay import replay

pytestmark = pytest.mark.slow

Picture = NDArray[np.float32]


@cache
def pipeline_of(family: str) -> Any:
    pipeline = tiny_sd() if family == "sd" else tiny_sdxl()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drawn(pipeline: Any) -> Picture:
    """In [0, 1]."""
    noise = np.random.default_rng(5).standard_normal((1, 4, 8, 8), dtype=np.float32)
    latents = pipeline.unet.conv_in.weight.new_tensor(noise)
    options = {"num_inference_steps": 2, "guidance_scale": 2.0, "height": 64, "width": 64, "output_type": "np"}
    picture: Picture = pipeline("a zqa cat", latents=latents, **options).images[0]
    return picture


def under(pipeline: Any, update: Update) -> Picture:
    with applied(pipeline.unet, update):
        return drawn(pipeline)


def chain_of(pipeline: Any, strategy: StrategyOptions) -> list[ChainLink]:
    """Two versions, or the one concept that an export of isolated ones is of."""
    projections = adapted_projections(pipeline.unet, ATTENTION)
    shapes = {name: projection_shape(projection) for name, projection in projections.items()}
    count = 1 if strategy.fold is Fold.CHOOSE else 2
    return [ChainLink(strategy, random_adapter(shapes, 2 + seed, 0.05, seed)) for seed in range(count)]


@pytest.mark.parametrize("kind", list(AdapterFormat))
@pytest.mark.parametrize("family", ["sd", "sdxl"])
@pytest.mark.parametrize("strategy", [options() for options in STRATEGIES.values()], ids=lambda strategy: strategy.name)
def test_diffusers_draws_what_the_version_draws(
    strategy: StrategyOptions, family: str, kind: AdapterFormat, tmp_path: Path
) -> None:
    """`magnitude` too, of a rank at which nothing is left out."""
    pipeline = pipeline_of(family)
    chain = chain_of(pipeline, strategy)
    expected, plain = under(pipeline, replay(chain).update), drawn(pipeline)
    weights = {name: tensor.clone() for name, tensor in pipeline.unet.state_dict().items()}
    links = [Link(link.strategy, to_bytes(link.adapter, {})) for link in chain]
    whole = 64 if strategy.fold is Fold.SELECT else None
    (tmp_path / "adapter.safetensors").write_bytes(export_adapter(links, Export(kind, Family(family), max_rank=whole)))
    pipeline.load_lora_weights(tmp_path, weight_name="adapter.safetensors")
    try:
        found = drawn(pipeline)
    finally:
        pipeline.unload_lora_weights()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
    assert abs(expected - plain).max() > 1e-2
    # The weights to the bit, what they draw not: where memory lies decides the order in which some processors add.
    left = pipeline.unet.state_dict()
    assert left.keys() == weights.keys()
    assert all(torch.equal(left[name], tensor) for name, tensor in weights.items())
    np.testing.assert_allclose(drawn(pipeline), plain, rtol=0, atol=1e-4)
