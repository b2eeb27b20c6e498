"""Bodies of evaluations."""

from datetime import datetime
from uuid import UUID

from pydantic import Field, JsonValue

from app.api.schemas.base import PageBody, example, page_example
from app.api.schemas.examples import EVALUATION_ID, JOB_ID, LINEAGE_ID, SHA256, THEN
from app.api.schemas.generations import VersionNumber
from app.domain.base import Value
from app.domain.evaluations import EvaluationFileName, EvaluationOptions, EvaluationProtocol, EvaluationResult
from app.domain.jobs import JobStatus
from app.services.evaluations import EvaluationDetails

_RESULT: dict[str, JsonValue] = {
    "versions": [
        {"version": 0, "concept": None, "base_drift": 0.0},
        {"version": 1, "concept": "rex", "base_drift": 0.021},
        {"version": 2, "concept": "vase", "base_drift": 0.034},
    ],
    "concepts": [
        {
            "name": "rex",
            "kind": "object",
            "class_noun": "dog",
            "token": "zvx",
            "learned_in": 1,
            "references": 5,
            "encoder": "lite0-what",
            "forgetting": 0.13,
            "retention": None,
            "self_retention": 0.71,
        },
        {
            "name": "vase",
            "kind": "object",
            "class_noun": "vase",
            "token": "quf",
            "learned_in": 2,
            "references": 5,
            "encoder": "lite0-what",
            "forgetting": 0.0,
            "retention": None,
            "self_retention": 1.0,
        },
    ],
    "scores": [[0.31, 0.28], [0.76, None], [0.63, 0.81]],
    "standard_errors": [[0.02, 0.02], [0.02, None], [0.03, 0.02]],
    "isolated": None,
    "self_retention": [[None, None], [1.0, None], [0.71, 1.0]],
    "prompt_alignment": [[1.0, 1.0], [1.0, None], [0.94, 1.0]],
    "confusion": [[0.88, 0.12], [0.0, 1.0]],
    "metrics": {
        "average_score": 0.72,
        "average_forgetting": 0.13,
        "average_forgetting_paper": 0.065,
        "plasticity": 0.785,
        "intransigence": None,
        "backward_transfer": -0.13,
        "retention": None,
        "self_retention": 0.855,
        "base_drift": 0.034,
        "prompt_alignment": 0.97,
    },
    "pictures_drawn": 80,
    "pictures_reused": 0,
    "seconds": 41.5,
}


class NewEvaluationBody(Value):
    """What to evaluate: a version and all its ancestors. No body is the head by the base model's protocol."""

    model_config = example({"version": 2, "isolated": False, "options": {"samples_per_prompt": 4, "steps": 10}})

    version: VersionNumber | None = Field(None, description="Left out: the head.")
    isolated: bool = Field(
        False, description="Also train each concept alone, from the base: needed for retention and intransigence."
    )
    options: EvaluationOptions = EvaluationOptions()


class EvaluationFileBody(Value):
    """A figure."""

    name: EvaluationFileName
    url: str
    size_bytes: int
    sha256: str


class EvaluationBody(Value):
    """An evaluation: what was asked for, pinned; and what was found, once its job has succeeded."""

    model_config = example(
        {
            "id": EVALUATION_ID,
            "lineage_id": LINEAGE_ID,
            "version": 2,
            "protocol": EvaluationProtocol(steps=10).model_dump(mode="json"),
            "isolated": False,
            "status": "succeeded",
            "job_id": JOB_ID,
            "result": _RESULT,
            "files": [
                {
                    "name": "heatmap.png",
                    "url": f"/v1/evaluations/{EVALUATION_ID}/heatmap.png",
                    "size_bytes": 48211,
                    "sha256": SHA256,
                }
            ],
            "created_at": THEN,
        }
    )

    id: UUID
    lineage_id: UUID
    version: int
    protocol: EvaluationProtocol
    isolated: bool
    status: JobStatus = Field(description="That of its job; under a gate that is the train job.")
    job_id: UUID
    result: EvaluationResult | None
    files: list[EvaluationFileBody]
    created_at: datetime

    @classmethod
    def of(cls, details: EvaluationDetails) -> "EvaluationBody":
        """The body of an evaluation, its job and its figures."""
        row = details.evaluation
        files = [
            EvaluationFileBody(
                name=file.name,
                url=f"/v1/evaluations/{row.id}/{file.name.value}",
                size_bytes=stored.size_bytes,
                sha256=stored.sha256,
            )
            for file, stored in details.files
        ]
        return cls(
            id=row.id,
            lineage_id=row.lineage_id,
            version=details.version,
            protocol=row.protocol,
            isolated=row.isolated,
            status=details.job.status,
            job_id=details.job.id,
            result=row.result,
            files=files,
            created_at=row.created_at,
        )


class EvaluationPage(PageBody[EvaluationBody]):
    """A page of evaluations."""

    model_config = page_example(EvaluationBody)
