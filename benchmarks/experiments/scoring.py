"""Scores of drawn pictures, by the product's judge: do they show the concept, and keep to the rest of the prompt?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from PIL import Image

from app.domain.base import Value
from app.domain.concepts import ConceptKind
from app.domain.evaluations import Alignment
from benchmarks.experiments.concepts import Asked, Concept
from worker.evaluation.encoders.base import Encoder
from worker.evaluation.evaluation_task import Column
from worker.evaluation.judging import Judge, keeps_to_prompt


@dataclass(frozen=True)
class Encoders:
    """What judges, by the kind of concept: `first`, which nobody here trained where there is such, and ours beside it.

    A kind that is missing in `second` has one judge.
    """

    first: Mapping[ConceptKind, Encoder]
    second: Mapping[ConceptKind, Encoder]


class Judged(StrEnum):
    """Whose scores are read."""

    FIRST = "first"
    SECOND = "second"


class Scores(Value):
    """Per picture: the mean cosine to the references, and whether the background is the one that was asked for.

    `identity` is by the first judge, `second` by the second, empty where there is none.
    """

    identity: tuple[float, ...]
    background_right: tuple[bool, ...]
    second: tuple[float, ...] = ()

    def by(self, judge: Judged) -> tuple[float, ...]:
        """The identities by that judge."""
        return self.identity if judge is Judged.FIRST else self.second


def score(encoders: Encoders, concept: Concept, asked: Sequence[Asked], images: Sequence[Image.Image]) -> Scores:
    """Score the pictures that were drawn for `asked`, in its order."""
    kept = keeps_to_prompt(Alignment.BACKGROUND, images, [one.prompt for one in asked])
    return Scores(
        identity=_identity(encoders.first, concept, asked[0].token, images),
        background_right=tuple(value == 1.0 for value in kept),
        second=_identity(encoders.second, concept, asked[0].token, images) if concept.kind in encoders.second else (),
    )


def _identity(
    encoders: Mapping[ConceptKind, Encoder], concept: Concept, token: str, images: Sequence[Image.Image]
) -> tuple[float, ...]:
    column = Column(taught=concept.taught(token), learned_at=1, references=concept.references)
    return tuple(Judge.of([column], encoders).similarities(images, 0)[:, 0].tolist())
