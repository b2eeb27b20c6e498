"""Bodies of jobs."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from app.api.problem_types import problem_type
from app.api.schemas.base import PageBody, example, page_example
from app.api.schemas.examples import EARLIER, JOB_ID, THEN
from app.db.tables import Job
from app.domain.base import Value
from app.domain.errors import Fault
from app.domain.jobs import JobFault, JobKind, JobResult, JobStatus, Phase
from app.services.jobs import PlacedJob


class ProgressBody(Value):
    """How far a job is."""

    step: int
    total_steps: int
    seconds_per_step: float | None
    eta_seconds: float | None
    loss: float | None

    @classmethod
    def of(cls, job: Job) -> "ProgressBody":
        """The progress of a row; only a running job has an end in sight."""
        is_paced = job.status is JobStatus.RUNNING and job.seconds_per_step is not None
        left = max(job.total_steps - job.step, 0)
        return cls(
            step=job.step,
            total_steps=job.total_steps,
            seconds_per_step=job.seconds_per_step,
            eta_seconds=round(left * (job.seconds_per_step or 0.0), 3) if is_paced else None,
            loss=job.loss,
        )


class JobErrorBody(Value):
    """Why a job failed, or why its last attempt did."""

    type: str
    title: str
    detail: str
    errors: tuple[Fault, ...] = Field((), description="What offends in the job's input.")

    @classmethod
    def of(cls, fault: JobFault) -> "JobErrorBody":
        """The body of a fault."""
        return cls(type=problem_type(fault.type), title=fault.title, detail=fault.detail, errors=fault.errors)


class JobBody(Value):
    """A job. The terminal statuses (succeeded, failed, canceled) never change."""

    model_config = example(
        {
            "id": JOB_ID,
            "kind": "train",
            "status": "running",
            "phase": "training",
            "progress": {
                "step": 80,
                "total_steps": 200,
                "seconds_per_step": 0.25,
                "eta_seconds": 30.0,
                "loss": 0.113,
            },
            "queue_position": None,
            "attempt": 1,
            "error": None,
            "result": None,
            "cancel_requested_at": None,
            "created_at": EARLIER,
            "started_at": THEN,
            "finished_at": None,
        }
    )

    id: UUID
    kind: JobKind
    status: JobStatus
    phase: Phase | None
    progress: ProgressBody
    queue_position: int | None = Field(description="Your queued jobs of this kind before this one; null unless queued.")
    attempt: int
    error: JobErrorBody | None
    result: JobResult | None = Field(
        description="A generation's and an evaluation's are there from the start; a training's once its version is."
    )
    cancel_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: PlacedJob) -> "JobBody":
        """The body of a job and its place in the queue."""
        job, queue_position = row
        return cls(
            id=job.id,
            kind=job.kind,
            status=job.status,
            phase=job.phase,
            progress=ProgressBody.of(job),
            queue_position=queue_position,
            attempt=job.attempt,
            error=None if job.error is None else JobErrorBody.of(job.error),
            result=job.result,
            cancel_requested_at=job.cancel_requested_at,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
        )


class JobPage(PageBody[JobBody]):
    """A page of jobs."""

    model_config = page_example(JobBody)
