"""What our own exports say of themselves in their header, and what comes back of it when one is imported."""

import json
from collections.abc import Mapping

from pydantic import ConfigDict, Field, ValidationError

from app.domain.adapters import Origin
from app.domain.base import Value
from app.domain.concepts import ClassNoun, ConceptKind, ConceptName, TaughtConcept, TriggerWords

ENTRY = "palimpsest"
_MAX_CONCEPTS = 1000


class Card(Value):
    """What an export is: where it comes from, what it has learned, and what a cut of its rank left out."""

    model_config = ConfigDict(extra="ignore")

    origin: Origin
    taught: tuple[TaughtConcept, ...] = ()

    def trigger_words(self) -> str:
        """The words that prompts name each concept by."""
        return ", ".join(concept.phrase() for concept in self.taught)

    def as_markdown(self) -> str:
        """A model card, for people."""
        rows = [f"| {c.name} | {c.kind.value} | `{c.phrase()}` | `{c.instance_prompt()}` |" for c in self.taught]
        table = ["| concept | kind | words | prompt |", "| --- | --- | --- | --- |", *rows] if rows else []
        learned = [f"- version {past.version}: {past.strategy}" for past in self.origin.history]
        lines = [
            f"# {self.title()}",
            f"A LoRA of the base model {self.origin.base_model}, made by Palimpsest, at scale 1.",
            *table,
            "How it was learned:",
            *learned,
        ]
        return "\n".join(lines)

    def title(self) -> str:
        """The concepts' names and the version."""
        names = ", ".join(concept.name for concept in self.taught[:5]) or "adapter"
        return f"{names} (version {self.origin.version})"


class _Concept(Value):
    """A concept as a file says it: held to what a form may say, since anybody can write a file."""

    model_config = ConfigDict(extra="ignore")

    name: ConceptName
    kind: ConceptKind
    class_noun: ClassNoun | None
    token: TriggerWords


class _Read(Value):
    model_config = ConfigDict(extra="ignore")

    origin: Origin
    taught: tuple[_Concept, ...] = Field((), max_length=_MAX_CONCEPTS)


def read_card(metadata: Mapping[str, str]) -> Card | None:
    """What a file of ours says; None of any other file, and of one whose concepts could not be told apart."""
    try:
        read = _Read.model_validate(json.loads(metadata.get(ENTRY, "")))
    except (ValidationError, ValueError, RecursionError):
        return None
    concepts = tuple(TaughtConcept(**concept.model_dump()) for concept in read.taught)
    is_whole = all((c.kind is ConceptKind.OBJECT) == (c.class_noun is not None) for c in concepts)
    if not is_whole or len({concept.name for concept in concepts}) != len(concepts):
        return None
    return Card(origin=read.origin, taught=concepts)
