"""What comes with an imported adapter."""

from typing import Annotated

from pydantic import StringConstraints, model_validator

from app.domain.base import Value
from app.domain.concepts import ClassNoun, ConceptKind, ConceptName, TaughtConcept

# Trigger words may be several; what a prompt's own grammar uses they may not hold.
TriggerWords = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^<>\\\x00-\x1f]+$")
]


class ImportFields(Value):
    """The text fields of the form: all of them, for prompts to name what was learned, or none."""

    name: ConceptName | None = None
    kind: ConceptKind | None = None
    class_noun: ClassNoun | None = None
    token: TriggerWords | None = None

    @model_validator(mode="after")
    def _all_or_none(self) -> "ImportFields":
        needed = {"name": self.name, "kind": self.kind, "token": self.token}
        missing = [field for field, value in needed.items() if value is None]
        if len(missing) not in (0, len(needed)) or (missing and self.class_noun is not None):
            raise ValueError(f"name, kind and token go together; missing: {', '.join(missing)}")
        if not missing and (self.kind is ConceptKind.OBJECT) != (self.class_noun is not None):
            raise ValueError("an object needs a class_noun, and a style has none")
        return self

    def taught(self) -> TaughtConcept | None:
        """What prompts may name, if anything."""
        if self.name is None or self.kind is None or self.token is None:
            return None
        return TaughtConcept(name=self.name, kind=self.kind, class_noun=self.class_noun, token=self.token)
