"""Concepts: what a user teaches, how it is named, and which words stand for it in a prompt."""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import StringConstraints

from app.domain.base import Value
from app.domain.errors import Fault, UnknownConceptError
from app.domain.patterns import CLASS_NOUN, CONCEPT_NAME

ConceptName = Annotated[str, StringConstraints(strip_whitespace=True, pattern=CONCEPT_NAME, max_length=64)]
ClassNoun = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=CLASS_NOUN)]
# Of a file that was trained elsewhere: may be several; what a prompt's own grammar uses they may not hold.
TriggerWords = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=CLASS_NOUN)
]

MAX_IMAGES_PER_CONCEPT = 50


class ConceptKind(StrEnum):
    """An object has a class noun ("dog"); a style has none."""

    OBJECT = "object"
    STYLE = "style"


class TaughtConcept(Value):
    """A concept as one version of a lineage has learned it: its name, and the rare token that stands for it."""

    name: str
    kind: ConceptKind
    class_noun: str | None
    token: str

    def phrase(self) -> str:
        """The words that replace `<name>` in a prompt."""
        return f"{self.token} {self.class_noun}" if self.kind is ConceptKind.OBJECT else f"{self.token} style"

    def instance_prompt(self) -> str:
        """The prompt that training shows with each of the concept's images (DreamBooth, arXiv 2208.12242)."""
        return f"a photo of {self.phrase()}" if self.kind is ConceptKind.OBJECT else f"{self.phrase()} image"

    def is_named_in(self, resolved_prompt: str) -> bool:
        """Whether a prompt, its `<name>`s replaced, speaks of this concept: whether it holds the token, as a word."""
        return holds_words(resolved_prompt, self.token)

    def shares_words_with(self, other: "TaughtConcept") -> bool:
        """Whether a prompt that names one names the other as well."""
        return holds_words(self.token, other.token) or holds_words(other.token, self.token)


def holds_words(text: str, words: str) -> bool:
    """Whether `words` occur in the text as words, in whatever case."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE) is not None


_REFERENCE = re.compile(r"\\<|<([^<>]*)>")


def resolve_prompt(prompt: str, taught: tuple[TaughtConcept, ...]) -> str:
    r"""Replace each `<name>` by the phrase of that concept; `\<` is a literal `<`.

    Raises:
        UnknownConceptError: a name that no concept of `taught` has; the message lists the known ones.
    """
    phrases = {concept.name: concept.phrase() for concept in taught}
    unknown = sorted({m[1] for m in _REFERENCE.finditer(prompt) if m[1] is not None and m[1] not in phrases})
    if unknown:
        known = ", ".join(f"<{name}>" for name in phrases) or "none yet"
        names = ", ".join(f"<{name}>" for name in unknown)
        detail = f"This version does not know {names}; it knows: {known}. Write \\< for a literal <."
        raise UnknownConceptError(detail, (Fault(field="prompt", message=f"unknown: {names}"),))
    return _REFERENCE.sub(lambda match: "<" if match[1] is None else phrases[match[1]], prompt)
