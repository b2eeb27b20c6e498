"""What comes with an imported adapter."""

from pydantic import Field, ValidationError, model_validator

from app.adapter_files.scales import MAX_CONFIG_BYTES, read_config
from app.api.faults import fault_of
from app.domain.adapters import ImportOptions
from app.domain.base import Value
from app.domain.concepts import ClassNoun, ConceptKind, ConceptName, TaughtConcept, TriggerWords
from app.domain.errors import InvalidInputError


class ImportFields(Value):
    """The text fields of the form. For prompts to name what was learned: name, kind and token, or none of them."""

    name: ConceptName | None = None
    kind: ConceptKind | None = None
    class_noun: ClassNoun | None = None
    token: TriggerWords | None = None
    alpha: float | None = None
    scale: float | None = None
    strength: float = 1.0
    max_rank: int | None = None
    adapter_config: str | None = Field(None, max_length=MAX_CONFIG_BYTES)

    @model_validator(mode="after")
    def _all_or_none(self) -> "ImportFields":
        needed = {"name": self.name, "kind": self.kind, "token": self.token}
        missing = [field for field, value in needed.items() if value is None]
        if len(missing) not in (0, len(needed)) or (missing and self.class_noun is not None):
            raise ValueError(f"name, kind and token go together; missing: {', '.join(missing)}")
        if not missing and (self.kind is ConceptKind.OBJECT) != (self.class_noun is not None):
            raise ValueError("an object needs a class_noun, and a style has none")
        return self

    def options(self, *, ignore_text_encoder: bool) -> ImportOptions:
        """How the file is to be read.

        Raises:
            InvalidAdapterError: the configuration is not peft's, or cannot be followed.
            InvalidInputError: an option is out of its bounds.
        """
        config = None if self.adapter_config is None else read_config(self.adapter_config.encode())
        try:
            return ImportOptions(
                alpha=self.alpha,
                scale=self.scale,
                strength=self.strength,
                max_rank=self.max_rank,
                ignore_text_encoder=ignore_text_encoder,
                config=config,
            )
        except ValidationError as error:
            raise InvalidInputError("The form is not valid.", tuple(map(fault_of, error.errors()))) from error

    def taught(self) -> TaughtConcept | None:
        """What prompts may name, if anything."""
        if self.name is None or self.kind is None or self.token is None:
            return None
        return TaughtConcept(name=self.name, kind=self.kind, class_noun=self.class_noun, token=self.token)
