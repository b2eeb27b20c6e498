"""From pictures to numbers: how near each is to the concepts' references, and whether it keeps to its prompt."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from app.domain.concepts import ConceptKind
from app.domain.evaluations import Alignment
from worker.evaluation.colours import BACKGROUNDS, nearest_background
from worker.evaluation.encoders.base import Encoder
from worker.evaluation.evaluation_task import Column
from worker.evaluation.metrics import FloatArray

_BACKGROUND = re.compile(r"(\w+) background")


@dataclass(frozen=True)
class Judge:
    """Compares pictures with the references of T concepts; those of other encoders cannot be compared.

    `references` are their embeddings, R_j x d; None where there is no reference.
    """

    encoders: Sequence[Encoder]
    references: Sequence[FloatArray | None]

    @classmethod
    def of(cls, columns: Sequence[Column], encoders: Mapping[ConceptKind, Encoder]) -> "Judge":
        """The judge of these concepts; `encoders` by the kind of concept."""
        own = [encoders[column.taught.kind] for column in columns]
        references = [
            _embed(encoder, column.references) if column.references else None
            for column, encoder in zip(columns, own, strict=True)
        ]
        return cls(own, references)

    def similarities(self, pictures: Sequence[Image.Image], made_for: int) -> FloatArray:
        """P x T: the mean cosine of each picture to each concept's references; NaN where it is undefined."""
        encoder = self.encoders[made_for]
        embedded = _embed(encoder, pictures)
        similarities = np.full((len(pictures), len(self.references)), np.nan)
        for k, references in enumerate(self.references):
            if references is not None and self.encoders[k] is encoder:
                similarities[:, k] = (embedded @ references.T).mean(axis=1)
        return similarities

    def real(self, j: int) -> float:
        """What real pictures score: the mean cosine of the concept's references to each other; NaN with fewer than two.

        The ceiling of its scores, but for drawings that copy one reference.
        """
        references = self.references[j]
        return float("nan") if references is None else _apart(references @ references.T)

    def real_copies(self, j: int, copies: Sequence[Image.Image]) -> float:
        """The same for one copy of each reference, compared with the other references."""
        references = self.references[j]
        return float("nan") if references is None else _apart(_embed(self.encoders[j], copies) @ references.T)


def _apart(cosines: FloatArray) -> float:
    """The mean of all pairs but those on the diagonal."""
    count = len(cosines)
    return float((cosines.sum() - np.trace(cosines)) / (count * (count - 1))) if count > 1 else float("nan")


def _embed(encoder: Encoder, pictures: Sequence[Image.Image]) -> FloatArray:
    embedded: FloatArray = encoder.embed(pictures).double().numpy()
    return embedded


def keeps_to_prompt(alignment: Alignment, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> FloatArray:
    """P; 1 where a picture keeps to the rest of its prompt, 0 where not, NaN where nothing known is asked for."""
    if alignment is Alignment.NONE:
        return np.full(len(pictures), np.nan)
    return np.array([_has_background(picture, prompt) for picture, prompt in zip(pictures, prompts, strict=True)])


def _has_background(picture: Image.Image, prompt: str) -> float:
    asked = _BACKGROUND.search(prompt)
    if asked is None or asked[1] not in BACKGROUNDS:
        return float("nan")
    return float(nearest_background(np.asarray(picture.convert("RGB"))) == asked[1])
