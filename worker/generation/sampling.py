"""Pictures from a version: the base with its accumulated update, by seed."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

from worker.adapters.accumulated import Update, applied
from worker.generation.batches import Drawn, draw
from worker.models.base import Base, Sampling


@dataclass(frozen=True, kw_only=True)
class GenerationRequest(Sampling):
    """`num_images` pictures of one prompt; picture n is seeded with `seed + n`.

    `exact` draws each alone: the same bits on the same kind of machine, whatever else is asked for.
    """

    num_images: int
    seed: int
    exact: bool = False


class GenerationHooks(Protocol):
    """The runner's ear; may raise to stop the generation, which leaves the base as it was."""

    def step(self, step: int, total_steps: int) -> None:
        """`step` of the denoising steps of all pictures are done."""


def generate(
    base: Base, update: Update, request: GenerationRequest, hooks: GenerationHooks, first: int = 0
) -> Generator[Drawn, None, None]:
    """The pictures from number `first` on, each as soon as it is drawn, of the version that `update` makes.

    The base computes with the update until this is exhausted or closed, and is then as it was.

    Raises:
        NotFiniteError: a picture is not finite.
    """
    done, total = first * request.steps, request.num_images * request.steps

    def on_step(pictures: int) -> None:
        nonlocal done
        done = min(done + pictures, total)
        hooks.step(done, total)

    seeds = range(request.seed + first, request.seed + request.num_images)
    with applied(base.denoiser, update):
        yield from draw(base, request, seeds, on_step, alone=request.exact)
