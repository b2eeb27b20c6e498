"""Pictures from a version: the base with its accumulated update, by seed."""

from dataclasses import dataclass
from typing import Protocol

import torch
from PIL import Image

from worker.adapters.accumulated import Update, applied
from worker.models.base import Base, Sampling


@dataclass(frozen=True, kw_only=True)
class GenerationRequest(Sampling):
    """`num_images` pictures of one prompt; picture n is seeded with `seed + n`."""

    num_images: int
    seed: int


class GenerationHooks(Protocol):
    """The runner's ear; may raise to stop the generation, which leaves the base as it was."""

    def step(self, step: int, total_steps: int) -> None:
        """`step` of the denoising steps of all pictures are done."""


def generate(base: Base, update: Update, request: GenerationRequest, hooks: GenerationHooks) -> list[Image.Image]:
    """The pictures of the version whose accumulated update is `update`; the base is untouched afterwards.

    One picture at a time: in a batch the last bits of each would depend on how many the batch has.
    """
    images: list[Image.Image] = []

    def on_step(step: int, steps: int) -> None:
        hooks.step(len(images) * steps + step, request.num_images * steps)

    with applied(base.denoiser, update):
        for n in range(request.num_images):
            generator = torch.Generator().manual_seed(request.seed + n)
            images.append(base.sample(request, generator, on_step))
    return images
