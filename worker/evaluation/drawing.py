"""The pictures of a cell: those that are there already, and those that are drawn now."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from PIL import Image

from worker.adapters.accumulated import applied
from worker.evaluation.evaluation_task import EvaluationHooks, Subject
from worker.evaluation.protocol import Shot
from worker.generation.png import to_png
from worker.models.base import Base


@dataclass
class Studio:
    """Draws with one base; counts what it draws and what it need not draw."""

    base: Base
    hooks: EvaluationHooks
    drawn: int = 0
    reused: int = 0

    def pictures(self, subject: Subject, shots: Sequence[Shot]) -> list[Image.Image]:
        """The pictures that the subject draws, in the order of the shots; the base is untouched afterwards."""
        found = {shot: image for shot in shots if (image := self._find(subject, shot)) is not None}
        missing = [shot for shot in shots if shot not in found]
        for prompt, wanted in groupby(missing, key=lambda shot: shot.sampling.prompt):
            with applied(self.base.denoiser, subject.update(prompt)):
                found |= {shot: self._draw(subject, shot) for shot in wanted}
        return [found[shot] for shot in shots]

    def _find(self, subject: Subject, shot: Shot) -> Image.Image | None:
        data = subject.store.get(shot.key(subject.key))
        if data is None:
            return None
        self.reused += 1
        self.hooks.skip(shot.sampling.steps)
        return Image.open(io.BytesIO(data))

    def _draw(self, subject: Subject, shot: Shot) -> Image.Image:
        """One at a time: in a batch the last bits of each would depend on how many the batch has."""
        generator = torch.Generator().manual_seed(shot.seed)
        image = self.base.sample(shot.sampling, generator, lambda *_: self.hooks.step())
        about = {"prompt": shot.sampling.prompt, "seed": str(shot.seed)}
        subject.store.put(shot.key(subject.key), to_png(image, about), "image/png")
        self.drawn += 1
        return image
