"""A line of two versions over the tiny base, an encoder that needs no weights, and hooks that count."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from app.domain.concepts import ConceptKind, TaughtConcept
from app.domain.evaluations import Alignment, EvaluationProtocol
from tests.tiny_pipelines import tiny_base
from worker.adapters.accumulated import Update
from worker.evaluation.evaluation_task import Column, EvaluationTask, Row, Subject
from worker.models.projections import adapted_projections, projection_shape

PROTOCOL = EvaluationProtocol(
    object_prompts=("a photo of {concept} on a red background", "a photo of {concept}"),
    style_prompts=("{concept} image of a cat",),
    samples_per_prompt=2,
    steps=2,
    guidance_scale=2.0,
    seed=5,
    alignment=Alignment.BACKGROUND,
)


@dataclass(frozen=True)
class ColourEncoder:
    """Mean colours of the four quarters of a picture, around grey."""

    name: str = "colours"
    fingerprint: str = "colours"

    def embed(self, images: Sequence[Image.Image]) -> Tensor:
        quarters = [np.asarray(image.convert("RGB").resize((2, 2), Image.Resampling.BOX)) for image in images]
        return F.normalize(torch.tensor(np.array(quarters)).reshape(len(images), -1).float() / 255 - 0.5, dim=1)


@dataclass
class Hooks:
    """Counts steps; stops the evaluation after so many of them are done."""

    stop_after: int | None = None
    steps: int = 0

    def step(self) -> None:
        self.steps += 1
        if self.stop_after is not None and self.steps > self.stop_after:
            raise InterruptedError

    def skip(self, steps: int) -> None:
        self.steps += steps

    def work(self) -> None: ...


@dataclass
class Memory:
    """What is known, in memory."""

    known: dict[str, bytes] = field(default_factory=dict)

    def get(self, key: str) -> bytes | None:
        return self.known.get(key)

    def put(self, key: str, data: bytes, content_type: str) -> None:  # noqa: ARG002
        self.known[key] = data

    def picture(self, key: str) -> Image.Image:
        return Image.open(io.BytesIO(self.known[key]))


def picture(*colour: int) -> Image.Image:
    return Image.new("RGB", (64, 64), (colour[0], colour[1], colour[2]))


def subject(key: str, size: float, store: Memory) -> Subject:
    def update(_: str) -> Update:
        projections = adapted_projections(tiny_base().denoiser, ("to_k",))
        generator = torch.Generator().manual_seed(0)
        return {
            name: size * torch.randn(projection_shape(projection), generator=generator)
            for name, projection in projections.items()
        }

    return Subject(key, update, store)


DOG = TaughtConcept(name="dog", kind=ConceptKind.OBJECT, class_noun="dog", token="zqa")
INK = TaughtConcept(name="ink", kind=ConceptKind.STYLE, class_noun=None, token="zqb")
CUP = TaughtConcept(name="cup", kind=ConceptKind.OBJECT, class_noun="cup", token="zqc")


def task(
    taught: Sequence[TaughtConcept] = (DOG, CUP), isolated: bool = False, store: Memory | None = None
) -> EvaluationTask:
    """A row for each of these concepts, above the base."""
    store = Memory() if store is None else store
    rows = [Row(0, None, Subject("base", lambda _: {}, store))]
    columns = []
    for place, concept in enumerate(taught, start=1):
        rows.append(Row(place, concept, subject(f"version {place}", 0.5 * place, store)))
        references = (picture(200, 30 * place, 40), picture(180, 40 * place, 60))
        alone = subject(f"{concept.name} alone", 0.3, store) if isolated else None
        columns.append(Column(concept, place, references, alone))
    return EvaluationTask(PROTOCOL, 64, ("a photo of a cat",), tuple(rows), tuple(columns))
