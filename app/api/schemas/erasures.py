"""Bodies of erasures."""

from uuid import UUID

from pydantic import Field

from app.api.schemas.base import example
from app.api.schemas.examples import CONCEPT_ID, LINEAGE_ID
from app.domain.base import Value
from app.domain.erasure import EraseMode
from app.services.erasures import ErasurePlan, PlannedHead, PlannedVersion


class NewErasureBody(Value):
    """A concept to erase, and how."""

    model_config = example({"concept_id": CONCEPT_ID, "mode": "refold"})

    concept_id: UUID
    mode: EraseMode = Field(
        description="`refold` takes the concept's factors out and keeps the later ones, in which traces can remain; "
        "`retrain` trains all that followed again."
    )


class PlannedVersionBody(Value):
    """A version that holds the concept."""

    lineage_id: UUID
    version: int
    is_made_anew: bool = Field(description="False for one that learned the concept: nothing takes its place.")
    steps: int = Field(description="Optimizer steps that its successor takes.")
    estimated_seconds: float | None = Field(description="As long as its own training took, if that is known.")

    @classmethod
    def of(cls, planned: PlannedVersion) -> "PlannedVersionBody":
        """The body of a planned version."""
        return cls(
            lineage_id=planned.version.lineage_id,
            version=planned.version.number,
            is_made_anew=planned.is_made_again,
            steps=planned.steps,
            estimated_seconds=planned.seconds,
        )


class PlannedHeadBody(Value):
    """A branch whose head moves."""

    lineage_id: UUID
    head_version: int
    becomes: int | None = Field(description="Null for a version that is yet to be made.")

    @classmethod
    def of(cls, planned: PlannedHead) -> "PlannedHeadBody":
        """The body of a planned move."""
        return cls(lineage_id=planned.lineage.id, head_version=planned.number, becomes=planned.becomes)


class ErasurePlanBody(Value):
    """What an erasure would make, redo and remove, in every branch. Nothing is done yet."""

    model_config = example(
        {
            "concept_id": CONCEPT_ID,
            "mode": "retrain",
            "is_residual": False,
            "versions": [
                {
                    "lineage_id": LINEAGE_ID,
                    "version": 1,
                    "is_made_anew": False,
                    "steps": 0,
                    "estimated_seconds": 0.0,
                },
                {
                    "lineage_id": LINEAGE_ID,
                    "version": 2,
                    "is_made_anew": True,
                    "steps": 300,
                    "estimated_seconds": 64.5,
                },
            ],
            "heads": [{"lineage_id": LINEAGE_ID, "head_version": 2, "becomes": None}],
            "total_steps": 300,
            "estimated_seconds": 64.5,
            "removed_generations": 2,
            "removed_pictures": 8,
            "canceled_jobs": 0,
            "removes_concept": True,
            "concept_kept_for": [],
        }
    )

    concept_id: UUID
    mode: EraseMode
    is_residual: bool = Field(description="Whether factors stay in use that were trained in the concept's presence.")
    versions: list[PlannedVersionBody] = Field(description="All of these answer 410 afterwards.")
    heads: list[PlannedHeadBody]
    total_steps: int
    estimated_seconds: float | None
    removed_generations: int
    removed_pictures: int
    canceled_jobs: int = Field(
        description="Trainings that would teach the concept again, and jobs that draw with, or repeat, what goes."
    )
    removes_concept: bool = Field(description="Whether the concept goes too, with its images.")
    concept_kept_for: list[UUID] = Field(description="Lineages of another origin that have learned it, and keep it.")

    @classmethod
    def of(cls, plan: ErasurePlan) -> "ErasurePlanBody":
        """The body of a plan."""
        is_refold = plan.mode is EraseMode.REFOLD
        return cls(
            concept_id=plan.concept.id,
            mode=plan.mode,
            is_residual=is_refold and any(planned.is_made_again for planned in plan.versions),
            versions=[PlannedVersionBody.of(planned) for planned in plan.versions],
            heads=[PlannedHeadBody.of(planned) for planned in plan.heads],
            total_steps=plan.total_steps(),
            estimated_seconds=plan.estimated_seconds(),
            removed_generations=plan.generations,
            removed_pictures=plan.pictures,
            canceled_jobs=plan.canceled_jobs,
            removes_concept=not plan.kept_for,
            concept_kept_for=list(plan.kept_for),
        )
