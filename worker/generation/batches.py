"""Pictures of one prompt in batches as large as fit into memory, each picture from a noise of its own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from worker.models.base import Base, Sampling
from worker.models.micro_batches import MicroBatches

# Beyond so many the time of a picture hardly falls any more; a GPU's memory may allow fewer.
PICTURES_AT_ONCE = 16


@dataclass(frozen=True)
class Drawn:
    """A picture, and how many were drawn with it, itself included: last bits depend on that number."""

    image: Image.Image
    at_once: int


BatchStep = Callable[[int], None]
"""Called after each denoising step of a batch with its number of pictures; may raise to stop."""


def draw(
    base: Base, sampling: Sampling, seeds: Sequence[int], on_step: BatchStep, alone: bool = False
) -> Iterator[Drawn]:
    """A picture for each seed, in order, as soon as its batch is drawn.

    `alone` draws one at a time. Then a picture's bits depend on nothing beside it: products of a batch's shape sum in
    another order.

    Raises:
        NotFiniteError: a picture is not finite.
        torch.OutOfMemoryError: not even one picture fits.
    """
    fitting = MicroBatches(1) if alone else _fitting(base, (sampling.width, sampling.height))
    done = 0
    while done < len(seeds):
        images = fitting.fit(_Batch(base, sampling, seeds[done:], on_step))
        yield from (Drawn(image, len(images)) for image in images)
        done += len(images)


def _fitting(base: Base, size: tuple[int, int]) -> MicroBatches:
    return base.pictures_at_once.setdefault(size, MicroBatches(PICTURES_AT_ONCE))


@dataclass(frozen=True)
class _Batch:
    """Draws the first `size` of the seeds' pictures; where they do not fit, it is called again with fewer."""

    base: Base
    sampling: Sampling
    seeds: Sequence[int]
    on_step: BatchStep

    def __call__(self, size: int) -> list[Image.Image]:
        generators = [torch.Generator().manual_seed(seed) for seed in self.seeds[:size]]
        return self.base.sample(self.sampling, generators, lambda *_: self.on_step(len(generators)))
