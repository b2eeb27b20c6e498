"""What the VAE loses: pictures through its encoder and its decoder, by the posterior's mode."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from benchmarks.statistics import Estimate, mean
from worker.models.sd import StableDiffusionBase
from worker.training.data import pixels

_BATCH = 32


@torch.no_grad()
def round_trip(base: StableDiffusionBase, images: Sequence[Image.Image]) -> list[Image.Image]:
    """The pictures, encoded and decoded."""
    vae = base.pipeline.vae
    decoded = []
    for start in range(0, len(images), _BATCH):
        batch = torch.stack([pixels(image, image.height) for image in images[start : start + _BATCH]])
        sample = vae.decode(vae.encode(batch).latent_dist.mode()).sample
        decoded += base.pipeline.image_processor.postprocess(sample, output_type="pil")
    return decoded


def psnr(originals: Sequence[Image.Image], copies: Sequence[Image.Image]) -> Estimate:
    """The mean over pictures of the peak signal-to-noise ratio of their 8-bit pixels, in dB."""
    return mean([_psnr(a, b) for a, b in zip(originals, copies, strict=True)])


def _psnr(original: Image.Image, copy: Image.Image) -> float:
    error = np.square(np.asarray(original, np.float64) - np.asarray(copy, np.float64)).mean()
    return float(10 * np.log10(255**2 / error))
