"""What the benchmarks' tests run on: made-up icons under real names, encoders that look at colours, the tiny base."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from app.domain.base_models import BaseModelManifest, Family
from app.domain.concepts import ConceptKind
from benchmarks.experiments.concepts import STYLE_SETS
from benchmarks.experiments.crew import Crew, RunT, TrialT
from benchmarks.experiments.laboratory import Laboratory, Sizes
from benchmarks.experiments.results import Results
from benchmarks.experiments.scoring import Encoders
from benchmarks.progress import bars
from recipes.icons_64.captions import SET_NOUNS
from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.split import class_nouns, load_split
from tests.tiny_pipelines import RARE_TOKENS, tiny_base


@cache
def icons() -> Pictures:
    """The held-out names, and 60 of the others that have a class noun, in every set: squares of random colours."""
    held_out = load_split().held_out_names
    names = [*sorted(held_out), *sorted(set(class_nouns()) - held_out)[:60]]
    sets = [*SET_NOUNS, *(name for part in STYLE_SETS.values() for name in part)]
    index = [Picture(s, name, row) for row, (s, name) in enumerate((s, name) for s in sets for name in names)]
    colours = np.random.default_rng(0).integers(0, 256, (len(index), 1, 1, 4), dtype=np.uint8)
    colours[..., 3] = 255
    return Pictures(np.broadcast_to(colours, (len(index), 8, 8, 4)), index)


@dataclass(frozen=True)
class MiddleColour:
    """An encoder that sees the colour in the middle of a picture, and where it is."""

    name: str = "middle"
    fingerprint: str = "middle"

    def embed(self, images: Sequence[Image.Image]) -> Tensor:
        middles = [np.asarray(image.convert("RGB"), np.float32)[28:36, 28:36].mean((0, 1)) - 127 for image in images]
        return normalize(torch.from_numpy(np.stack(middles)) + 1e-3, dim=1)


def laboratory(pictures: int = 4) -> Laboratory:
    """The tiny base, and all encoders looking at colours."""
    manifest = BaseModelManifest(name="tiny-sd", family=Family.SD, resolution=64, rare_tokens=RARE_TOKENS)
    sizes = Sizes(pictures=pictures, sampling_steps=2)
    encoders = Encoders(dict.fromkeys(ConceptKind, MiddleColour()), {ConceptKind.OBJECT: MiddleColour("second")})
    return Laboratory(tiny_base(), manifest, encoders, sizes)


class Counted(Generic[TrialT, RunT]):
    """A job that counts how often it was done, and may die."""

    def __init__(self, job: Callable[[TrialT], RunT], dies_at: int | None = None) -> None:
        self.job, self.dies_at, self.done = job, dies_at, 0

    def __call__(self, trial: TrialT) -> RunT:
        if self.done == self.dies_at:
            raise KeyboardInterrupt
        self.done += 1
        return self.job(trial)


@contextmanager
def crew_of(
    job: Callable[[TrialT], RunT], results: Results[RunT], minutes: float = 10.0
) -> Iterator[Crew[TrialT, RunT]]:
    """A crew of one thread, in the tiny laboratory's setting."""
    with ThreadPoolExecutor(1) as executor, bars() as progress:
        yield Crew(laboratory().setting, results, executor, job, 1, time.monotonic() + 60 * minutes, progress)


REPOSITORY = Path(__file__).parents[3]
