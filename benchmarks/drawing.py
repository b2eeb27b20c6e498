"""Pictures in batches, each from the noise of its own seed.

The noises are those of the service's seeds. Its batches may have other sizes (docs/decisions/0005), so last bits may
differ; they do not matter to a mean over hundreds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from worker.models.sd import StableDiffusionBase


@dataclass(frozen=True)
class Wanted:
    """One picture: what it is to show, and the seed of its noise."""

    prompt: str
    seed: int


@dataclass(frozen=True)
class Sampler:
    """How pictures are drawn."""

    steps: int
    guidance_scale: float
    batch_size: int = 8


def draw(
    base: StableDiffusionBase,
    wanted: Sequence[Wanted],
    sampler: Sampler,
    on_pictures: Callable[[int], None] = lambda _: None,
) -> list[Image.Image]:
    """The pictures in their order; `on_pictures` hears after each batch how many it had."""
    images: list[Image.Image] = []
    for start in range(0, len(wanted), sampler.batch_size):
        batch = wanted[start : start + sampler.batch_size]
        drawn = base.pipeline(
            [one.prompt for one in batch],
            num_inference_steps=sampler.steps,
            guidance_scale=sampler.guidance_scale,
            latents=torch.cat([_noise(base, one.seed) for one in batch]),
        )
        images += drawn.images
        on_pictures(len(batch))
    return images


def _noise(base: StableDiffusionBase, seed: int) -> Tensor:
    """(1, C, h, w): what the service draws from this seed at the base's own resolution."""
    config = base.pipeline.unet.config
    shape = (1, config.in_channels, config.sample_size, config.sample_size)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return noise.to(base.device, base.dtype)
