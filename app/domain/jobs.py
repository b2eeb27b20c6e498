"""Jobs: their statuses, what each kind is given, what it reports and what it results in."""

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from app.domain.base import Value
from app.domain.concepts import TaughtConcept
from app.domain.strategies import AnyStrategy
from app.domain.training import TrainingOptions


class JobKind(StrEnum):
    """What a worker may be asked to do; each kind has a queue of its own name."""

    TRAIN = "train"
    GENERATE = "generate"


class JobStatus(StrEnum):
    """Where a job stands. The terminal statuses never change.

    A queued job may be claimed or canceled. A running one may end in any way, or go back to the queue: after a failure
    worth another try, at a warm shutdown, or when its lease expires.
    """

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


TERMINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED})


class Phase(StrEnum):
    """What a running job is at; `worker.lease` gives each phase the longest silence that it allows."""

    LOADING = "loading"
    ENCODING = "encoding"
    TRAINING = "training"
    GENERATING = "generating"
    PUBLISHING = "publishing"


class JobFault(Value):
    """Why a job failed: the problem type's slug, a title, and one sentence for the user."""

    type: str
    title: str
    detail: str


class TrainParams(Value):
    """A train job: which concept, as which token, by which strategy. The parent is the head when claimed."""

    kind: Literal[JobKind.TRAIN] = JobKind.TRAIN
    concept_id: UUID
    taught: TaughtConcept
    strategy: AnyStrategy
    training: TrainingOptions


class GenerateParams(Value):
    """A generate job: the generation row holds everything, pinned at submission."""

    kind: Literal[JobKind.GENERATE] = JobKind.GENERATE
    generation_id: UUID


JobParams = Annotated[TrainParams | GenerateParams, Field(discriminator="kind")]


class TrainResult(Value):
    """What a train job made: that version of that lineage."""

    lineage_id: UUID
    version: int


class GenerateResult(Value):
    """What a generate job makes; named from the start, filled when the job succeeds."""

    generation_id: UUID


JobResult = TrainResult | GenerateResult
