"""Pictures from a version: the base with its accumulated update, by seed."""

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
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


def generate(
    base: Base, update: Update, request: GenerationRequest, hooks: GenerationHooks, first: int = 0
) -> Generator[Image.Image, None, None]:
    """The pictures from number `first` on, each as soon as it is drawn, of the version that `update` makes.

    The base computes with the update until this is exhausted or closed, and is then as it was. One picture at a time:
    in a batch the last bits of each would depend on how many the batch has.

    Raises:
        NotFiniteError: a picture is not finite.
    """
    with applied(base.denoiser, update):
        for n in range(first, request.num_images):
            generator = torch.Generator().manual_seed(request.seed + n)
            yield base.sample(request, generator, partial(_tell, hooks, n, request.num_images))


def _tell(hooks: GenerationHooks, n: int, num_images: int, step: int, steps: int) -> None:
    hooks.step(n * steps + step, num_images * steps)
