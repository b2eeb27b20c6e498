"""The pictures of a cell: those that are there already, and those that are drawn now."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from PIL import Image

from worker.adapters.accumulated import applied
from worker.evaluation.evaluation_task import EvaluationHooks, Subject
from worker.evaluation.protocol import Shot
from worker.generation.batches import draw
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
        found: dict[Shot, Image.Image] = {}
        for sampling, group in groupby(shots, key=lambda shot: shot.sampling):
            of_prompt = list(group)
            known = [self._find(subject, shot) for shot in of_prompt]
            if None in known:
                with applied(self.base.denoiser, subject.update(sampling.prompt)):
                    found |= self._draw(subject, of_prompt)
            else:
                self.reused += len(known)
                self.hooks.skip(len(known) * sampling.steps)
                found |= {shot: image for shot, image in zip(of_prompt, known, strict=True) if image is not None}
        return [found[shot] for shot in shots]

    def _find(self, subject: Subject, shot: Shot) -> Image.Image | None:
        data = subject.store.get(shot.key(subject.key))
        return None if data is None else Image.open(io.BytesIO(data))

    def _draw(self, subject: Subject, shots: Sequence[Shot]) -> dict[Shot, Image.Image]:
        """All pictures of one prompt, also those that are there: last bits depend on how many a batch has.

        So an evaluation that was interrupted ends with the same pictures.
        """
        images = {}
        drawn = draw(self.base, shots[0].sampling, [shot.seed for shot in shots], self._on_step)
        for shot, picture in zip(shots, drawn, strict=True):
            about = {"prompt": shot.sampling.prompt, "seed": str(shot.seed)}
            subject.store.put(shot.key(subject.key), to_png(picture.image, about), "image/png")
            images[shot] = picture.image
            self.drawn += 1
        return images

    def _on_step(self, pictures: int) -> None:
        for _ in range(pictures):
            self.hooks.step()
