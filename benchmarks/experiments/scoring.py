"""Scores of drawn pictures: whether they show the concept, and whether they kept what else the prompt says."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from app.domain.base import Value
from app.domain.concepts import ConceptKind
from benchmarks.experiments.concepts import Asked, Concept
from worker.evaluation.encoders.base import Encoder
from worker.pretraining.colours import nearest_background


class Scores(Value):
    """Per picture: the identity score, and whether the background is the one that was asked for."""

    identity: tuple[float, ...]
    background_right: tuple[bool, ...]


@dataclass(frozen=True)
class Encoders:
    """The encoder that tells objects apart, and the one that tells styles apart."""

    what: Encoder
    how: Encoder

    def of(self, kind: ConceptKind) -> Encoder:
        return self.what if kind is ConceptKind.OBJECT else self.how


def identity_scores(encoder: Encoder, images: Sequence[Image.Image], references: Sequence[Image.Image]) -> list[float]:
    """Per image the mean cosine to all references (DreamBooth's DINO score, arXiv 2208.12242)."""
    cosines = encoder.embed(images) @ encoder.embed(references).T
    return [float(score) for score in cosines.mean(1)]


def score(encoders: Encoders, concept: Concept, asked: Sequence[Asked], images: Sequence[Image.Image]) -> Scores:
    """Score the pictures that were drawn for `asked`, in its order."""
    identity = identity_scores(encoders.of(concept.kind), images, concept.references)
    seen = [nearest_background(np.asarray(image)) for image in images]
    right = tuple(colour == one.background for colour, one in zip(seen, asked, strict=True))
    return Scores(identity=tuple(identity), background_right=right)
