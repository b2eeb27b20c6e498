"""A concept's images and prompt as the loop wants them, encoded once per job.

The random part of a latent is drawn in each step from its distribution, so encoding once loses nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from worker.models.base import Base, Conditioning, Framing, LatentDistribution
from worker.training.training_task import TrainingTask


@dataclass(frozen=True)
class Encoded:
    """Latent distributions, and the instance prompt's conditioning with the framing: N rows each, one per image."""

    latents: LatentDistribution
    conditioning: Conditioning


def pixels(image: Image.Image, resolution: int) -> Tensor:
    """3 x resolution x resolution in [-1, 1]: scaled to the shorter side and cropped at the centre, white beneath."""
    opaque = image.convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    square = ImageOps.fit(opaque, (resolution, resolution), method=Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).to(torch.float32) / 127.5 - 1


def framing(image: Image.Image, resolution: int) -> Framing:
    """What `pixels` does to the image."""
    scale = resolution / min(image.size)
    left, top = (round((side - min(image.size)) * scale / 2) for side in image.size)
    return Framing((image.height, image.width), (top, left))


def encode(base: Base, task: TrainingTask, on_image: Callable[[], None]) -> Encoded:
    """Encode image by image, so that memory does not grow with their number."""
    parts = []
    for image in task.images:
        parts.append(base.encode_images(pixels(image, task.training.resolution).unsqueeze(0)))
        on_image()
    latents = LatentDistribution(torch.cat([part.mean for part in parts]), torch.cat([part.std for part in parts]))
    framings = base.encode_framings([framing(image, task.training.resolution) for image in task.images])
    prompt = base.encode_prompts([task.instance_prompt]).rows(torch.zeros(len(task.images), dtype=torch.long))
    return Encoded(latents, prompt.beside(framings))
