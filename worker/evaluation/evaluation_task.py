"""What an evaluation is given, and whom it tells how far it is."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from PIL import Image

from app.domain.concepts import ConceptKind, TaughtConcept
from app.domain.evaluations import EvaluationProtocol
from worker.adapters.accumulated import Update


class Store(Protocol):
    """What was found out about a subject before, by the hash of all that it is a function of."""

    def get(self, key: str) -> bytes | None:
        """What was put under this key, if anything was."""

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Keep it."""


@dataclass(frozen=True)
class Subject:
    """A model to look at: the base with an update, which may depend on the prompt.

    `key` is the hash of everything that the two are made of.
    """

    key: str
    update: Callable[[str], Update]
    store: Store


@dataclass(frozen=True)
class Row:
    """A version of the line, or the base, which has learned nothing."""

    number: int
    taught: TaughtConcept | None
    subject: Subject


@dataclass(frozen=True)
class Column:
    """A concept that a version of the line has learned.

    `learned_at` is the place of that version's row. `references` are empty where the user has deleted the concept.
    `isolated` is the base with this concept alone, if it was asked for.
    """

    taught: TaughtConcept
    learned_at: int
    references: tuple[Image.Image, ...]
    isolated: Subject | None = None


@dataclass(frozen=True)
class EvaluationTask:
    """One line of versions, the base first, and the concepts that it learned, in that order."""

    protocol: EvaluationProtocol
    resolution: int
    neutral_prompts: tuple[str, ...]
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]

    def is_defined(self, row: int, column: int) -> bool:
        """Whether there is a cell: the base is asked for every concept, a version for those that it has learned."""
        return row == 0 or row >= self.columns[column].learned_at

    def total_steps(self) -> int:
        """Denoising steps of all pictures, those included that are there already."""
        pictures = 0
        for j, column in enumerate(self.columns):
            cells = sum(self.is_defined(i, j) for i in range(len(self.rows))) + (column.isolated is not None)
            pictures += cells * self.protocol.pictures_per_cell(column.taught.kind)
        return (pictures + len(self.pairs()) * self.protocol.samples_per_prompt) * self.protocol.steps

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The columns of two objects that are asked for in one picture, the left one first.

        Each object with the one that was learned after it, and the last with the first. None where the base cannot draw
        two things. Objects without references cannot be looked for.
        """
        if self.protocol.composition is None:
            return ()
        objects = [
            j for j, column in enumerate(self.columns) if column.taught.kind is ConceptKind.OBJECT and column.references
        ]
        return tuple(pairwise([*objects, objects[0]])) if len(objects) > 1 else ()


class EvaluationHooks(Protocol):
    """The runner's ear; any of these may raise to stop the evaluation, which leaves the base as it was."""

    def step(self) -> None:
        """A denoising step of a picture is done."""

    def skip(self, steps: int) -> None:
        """So many denoising steps need not be done: the picture is there already."""

    def work(self) -> None:
        """Something is done that is no step of a picture."""
