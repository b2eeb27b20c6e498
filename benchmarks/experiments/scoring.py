"""Scores of drawn pictures, by the product's judge: do they show the concept, and keep to the rest of the prompt?"""

from collections.abc import Mapping, Sequence

from PIL import Image

from app.domain.base import Value
from app.domain.concepts import ConceptKind
from app.domain.evaluations import Alignment
from benchmarks.experiments.concepts import Asked, Concept
from worker.evaluation.encoders.base import Encoder
from worker.evaluation.evaluation_task import Column
from worker.evaluation.judging import Judge, keeps_to_prompt

Encoders = Mapping[ConceptKind, Encoder]


class Scores(Value):
    """Per picture: the mean cosine to the references, and whether the background is the one that was asked for."""

    identity: tuple[float, ...]
    background_right: tuple[bool, ...]


def score(encoders: Encoders, concept: Concept, asked: Sequence[Asked], images: Sequence[Image.Image]) -> Scores:
    """Score the pictures that were drawn for `asked`, in its order."""
    column = Column(taught=concept.taught(asked[0].token), learned_at=1, references=concept.references)
    identity = Judge.of([column], encoders).similarities(images, 0)[:, 0]
    kept = keeps_to_prompt(Alignment.BACKGROUND, images, [one.prompt for one in asked])
    return Scores(identity=tuple(identity.tolist()), background_right=tuple(value == 1.0 for value in kept))
