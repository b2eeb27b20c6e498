"""Bodies of concepts."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from app.api.schemas.base import PageBody, example, page_example
from app.api.schemas.examples import CONCEPT_ID, EARLIER, SHA256
from app.domain.base import Value
from app.domain.concepts import ClassNoun, ConceptKind, ConceptName
from app.domain.errors import Fault
from app.services.concepts import ConceptDetails


class NewConceptFields(Value):
    """The text fields of the multipart form."""

    name: ConceptName
    kind: ConceptKind
    class_noun: ClassNoun | None = None


class ConceptImageBody(Value):
    """One image as it is stored: upright, RGB, without metadata."""

    position: int = Field(description="Counted from 0.")
    url: str
    width: int
    height: int
    size_bytes: int
    sha256: str


class ConceptBody(Value):
    """A concept."""

    model_config = example(
        {
            "id": CONCEPT_ID,
            "name": "rex",
            "kind": "object",
            "class_noun": "dog",
            "images": [
                {
                    "position": 0,
                    "url": f"/v1/concepts/{CONCEPT_ID}/images/0",
                    "width": 512,
                    "height": 512,
                    "size_bytes": 301544,
                    "sha256": SHA256,
                }
            ],
            "warnings": [],
            "created_at": EARLIER,
        }
    )

    id: UUID
    name: str = Field(description="Prompts name the concept as `<name>`.")
    kind: ConceptKind
    class_noun: str | None
    images: list[ConceptImageBody]
    warnings: list[Fault] = Field(description="Pictures that teach little: of one colour, alike, too small, too long.")
    created_at: datetime

    @classmethod
    def of(cls, details: ConceptDetails) -> "ConceptBody":
        """The body of a concept and its images."""
        concept = details.concept
        images = [
            ConceptImageBody(
                position=image.position,
                url=f"/v1/concepts/{concept.id}/images/{image.position}",
                width=image.width,
                height=image.height,
                size_bytes=stored.size_bytes,
                sha256=stored.sha256,
            )
            for image, stored in details.images
        ]
        return cls(
            id=concept.id,
            name=concept.name,
            kind=concept.kind,
            class_noun=concept.class_noun,
            images=images,
            warnings=list(concept.warnings),
            created_at=concept.created_at,
        )


class ConceptPage(PageBody[ConceptBody]):
    """A page of concepts."""

    model_config = page_example(ConceptBody)
