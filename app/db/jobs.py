"""How a job's row is made: what it works on stands in its parameters, and in columns that are foreign keys."""

from typing import Any
from uuid import UUID

from app.db.tables import Job, Lineage
from app.domain.jobs import JobParams, JobResult

_REFERENCES = ("concept_id", "version_id", "generation_id", "evaluation_id")


def new_job(
    lineage: Lineage,
    params: JobParams,
    *,
    version_id: UUID | None = None,
    input_object_id: UUID | None = None,
    result: JobResult | None = None,
    total_steps: int = 0,
) -> Job:
    """A queued job in that lineage; `version_id` where the parameters name the version only through another row."""
    return Job(
        user_id=lineage.user_id,
        lineage_id=lineage.id,
        base_model=lineage.base_model,
        kind=params.kind,
        params=params,
        input_object_id=input_object_id,
        result=result,
        total_steps=total_steps,
        **_references(params, version_id),
    )


def _references(params: JobParams, version_id: UUID | None) -> dict[str, Any]:
    named = {name: getattr(params, name, None) for name in _REFERENCES}
    return named if version_id is None else named | {"version_id": version_id}
