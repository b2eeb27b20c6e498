"""Bodies of generations."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from app.api.schemas.base import PageBody, Prompt, example, page_example
from app.api.schemas.examples import GENERATION_ID, JOB_ID, LINEAGE_ID, SHA256, THEN
from app.domain.base import Value
from app.domain.effects import NO_GUIDANCE
from app.domain.errors import Fault
from app.domain.jobs import JobStatus
from app.domain.seeds import MAX_SEED
from app.services.generations import GenerationDetails, NewGeneration

VersionNumber = Annotated[int, Field(ge=0, le=2**31 - 1)]

_SIDE = (
    "Pixels. Left out: the base model's resolution. Its manifest's `canvas` has the bounds, and what a side must be a "
    "multiple of; without a canvas there is no other size."
)


class NewGenerationBody(Value):
    r"""Pictures to draw. A prompt names concepts as `<name>`; `\<` is a literal `<`."""

    model_config = example(
        {"lineage_id": LINEAGE_ID, "version": 1, "prompt": "<rex> on a blue background", "num_images": 2, "seed": 7}
    )

    lineage_id: UUID
    version: VersionNumber | None = Field(None, description="Left out: the head.")
    prompt: Prompt
    negative_prompt: Prompt | None = None
    num_images: int = Field(1, ge=1, le=16)
    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="Picture n is drawn with seed + n. Left out: a random one, which is told."
    )
    steps: int | None = Field(None, ge=1, le=200, description="Left out: the base model's default.")
    guidance_scale: float | None = Field(
        None,
        ge=NO_GUIDANCE,
        le=30,
        description="1 is no guidance, under which no negative_prompt is heard. Left out: the base model's default.",
    )
    exact: bool = Field(
        False,
        description="Draw each picture alone: the same bits on the same kind of machine, whatever else is asked for. "
        "Otherwise pictures share batches, which is several times as fast, and last bits differ.",
    )
    width: int | None = Field(None, ge=8, le=4096, description=_SIDE)
    height: int | None = Field(None, ge=8, le=4096, description=_SIDE)

    def asked(self) -> NewGeneration:
        """The same for the use case."""
        return NewGeneration(
            lineage_id=self.lineage_id,
            version=self.version,
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            num_images=self.num_images,
            seed=self.seed,
            steps=self.steps,
            guidance_scale=self.guidance_scale,
            exact=self.exact,
            width=self.width,
            height=self.height,
        )


class GeneratedImageBody(Value):
    """One picture, a PNG that tells in its metadata how it was made."""

    position: int = Field(description="Counted from 0.")
    url: str
    size_bytes: int
    sha256: str


class GenerationBody(Value):
    """A generation: what was asked for, pinned; and the pictures as they are drawn."""

    model_config = example(
        {
            "id": GENERATION_ID,
            "lineage_id": LINEAGE_ID,
            "version": 1,
            "prompt": "<rex> on a blue background",
            "resolved_prompt": "zvx dog on a blue background",
            "negative_prompt": None,
            "num_images": 1,
            "seed": 7,
            "steps": 25,
            "guidance_scale": 4.0,
            "exact": False,
            "width": 64,
            "height": 64,
            "status": "succeeded",
            "job_id": JOB_ID,
            "images": [
                {
                    "position": 0,
                    "url": f"/v1/generations/{GENERATION_ID}/images/0",
                    "size_bytes": 5120,
                    "sha256": SHA256,
                }
            ],
            "warnings": [],
            "created_at": THEN,
        }
    )

    id: UUID
    lineage_id: UUID
    version: int
    prompt: str
    resolved_prompt: str = Field(description="With the words that stand for the concepts.")
    negative_prompt: str | None = Field(description="With each concept's words in the place of its `<name>`.")
    num_images: int
    seed: int
    steps: int
    guidance_scale: float
    exact: bool = Field(description="Whether each picture was drawn alone.")
    width: int | None = Field(description="Null in older generations: the base model's resolution.")
    height: int | None
    status: JobStatus = Field(description="That of its job.")
    job_id: UUID
    images: list[GeneratedImageBody] = Field(description="Those that are drawn; a canceled job keeps what it has.")
    warnings: list[Fault] = Field(description="What of the prompts does not mean what it may seem to, or was cut off.")
    created_at: datetime

    @classmethod
    def of(cls, details: GenerationDetails) -> "GenerationBody":
        """The body of a generation, its job and its pictures."""
        row = details.generation
        images = [
            GeneratedImageBody(
                position=image.position,
                url=f"/v1/generations/{row.id}/images/{image.position}",
                size_bytes=stored.size_bytes,
                sha256=stored.sha256,
            )
            for image, stored in details.images
        ]
        return cls(
            id=row.id,
            lineage_id=row.lineage_id,
            version=details.version,
            prompt=row.prompt,
            resolved_prompt=row.resolved_prompt,
            negative_prompt=row.negative_prompt,
            num_images=row.num_images,
            seed=row.seed,
            steps=row.steps,
            guidance_scale=row.guidance_scale,
            exact=row.exact,
            width=row.width,
            height=row.height,
            status=details.job.status,
            job_id=details.job.id,
            images=images,
            warnings=list(row.warnings),
            created_at=row.created_at,
        )


class GenerationPage(PageBody[GenerationBody]):
    """A page of generations."""

    model_config = page_example(GenerationBody)
