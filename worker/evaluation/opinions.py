"""What stands beside the scores: what real pictures would score, and what another encoder says of the same drawings."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from app.domain.concepts import ConceptKind
from worker.evaluation.encoders.base import Encoder
from worker.evaluation.evaluation_task import Column, EvaluationTask
from worker.evaluation.judging import Judge
from worker.evaluation.metrics import FloatArray
from worker.models.base import Base
from worker.training.data import pixels


@dataclass(frozen=True)
class Ceilings:
    """Per concept, NaN where undefined: the score of real pictures, and of real ones through the autoencoder."""

    real: tuple[float, ...]
    through_vae: tuple[float, ...]

    @classmethod
    def of(cls, judge: Judge, copies: Sequence[Sequence[Image.Image]]) -> "Ceilings":
        """`copies`: of each concept's references, as `copied` makes them."""
        places = range(len(copies))
        return cls(tuple(judge.real(j) for j in places), tuple(judge.real_copies(j, copies[j]) for j in places))


def copied(base: Base, task: EvaluationTask) -> list[list[Image.Image]]:
    """Each concept's references at the base's own size, encoded and decoded once."""
    return [[_copy(base, image, task.resolution) for image in column.references] for column in task.columns]


def _copy(base: Base, image: Image.Image, resolution: int) -> Image.Image:
    return base.decode(base.encode_images(torch.stack([pixels(image, resolution)])).mean)[0]


@dataclass(frozen=True)
class Second:
    """A judge of the objects alone. `places`: their columns; `judge`'s own are numbered among themselves."""

    encoder: Encoder
    places: tuple[int, ...]
    judge: Judge

    @classmethod
    def of(cls, columns: Sequence[Column], encoder: Encoder | None) -> "Second | None":
        """None without an encoder, and where there is no object."""
        places = tuple(j for j, column in enumerate(columns) if column.taught.kind is ConceptKind.OBJECT)
        if encoder is None or not places:
            return None
        judge = Judge.of([columns[j] for j in places], {ConceptKind.OBJECT: encoder})
        return cls(encoder, places, judge)

    def scores(self, pictures: Sequence[Image.Image], j: int) -> FloatArray | None:
        """P: how near the pictures of column j are to its references; None for what is no object."""
        if j not in self.places:
            return None
        place = self.places.index(j)
        own: FloatArray = self.judge.similarities(pictures, place)[:, place]
        return own

    def ceilings(self, copies: Sequence[Sequence[Image.Image]]) -> Ceilings:
        """Of the objects, as `Ceilings.of` has it."""
        return Ceilings.of(self.judge, [copies[j] for j in self.places])


@dataclass(frozen=True)
class SecondFindings:
    """What a second judge has found of T objects. scores: (N + 1) x T x P; isolated: T x P, if it was asked for."""

    encoder_name: str
    places: tuple[int, ...]
    scores: FloatArray
    isolated: FloatArray | None
    ceilings: Ceilings
