"""A concept's images and prompt as the loop wants them, encoded once per job.

What is random about a latent is drawn anew in each step from its distribution, so encoding once loses nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from worker.models.base import Base, Conditioning, LatentDistribution
from worker.training.task import TrainingTask


@dataclass(frozen=True)
class Encoded:
    """The images' latent distributions, N rows, and the instance prompt's conditioning, one row."""

    latents: LatentDistribution
    conditioning: Conditioning


def pixels(image: Image.Image, resolution: int) -> Tensor:
    """3 x resolution x resolution in [-1, 1]: scaled to the shorter side and cropped at the centre, white beneath."""
    opaque = image.convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    square = ImageOps.fit(opaque, (resolution, resolution), method=Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).to(torch.float32) / 127.5 - 1


def encode(base: Base, task: TrainingTask, on_image: Callable[[], None]) -> Encoded:
    """Encode image by image, so that memory does not grow with their number."""
    parts = []
    for image in task.images:
        parts.append(base.encode_images(pixels(image, task.training.resolution).unsqueeze(0)))
        on_image()
    latents = LatentDistribution(torch.cat([part.mean for part in parts]), torch.cat([part.std for part in parts]))
    return Encoded(latents, base.encode_prompts([task.instance_prompt]))
