"""Jobs: their statuses, what each kind is given, what it reports and what it results in."""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from app.domain.adapters import ImportOptions, Origin
from app.domain.base import Value
from app.domain.comparison import Difference
from app.domain.concept_tasks import ConceptTask
from app.domain.concepts import TaughtConcept
from app.domain.erasure import EraseMode
from app.domain.errors import Fault
from app.domain.evaluations import GateVerdict


class JobKind(StrEnum):
    """What a worker may be asked to do."""

    TRAIN = "train"
    GENERATE = "generate"
    IMPORT = "import"
    REPRODUCE = "reproduce"
    ERASE = "erase"
    EVALUATE = "evaluate"

    @property
    def traits(self) -> "KindTraits":
        """What everything outside its handler has to know of the kind."""
        return TRAITS[self]

    @property
    def queue(self) -> "JobKind":
        """The kind whose queue it waits in. A worker of that queue takes all kinds that wait in it."""
        return self.traits.queue


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
    """What a running job is at; `worker.attempt.lease` gives each phase the longest silence that it allows."""

    LOADING = "loading"
    ENCODING = "encoding"
    TRAINING = "training"
    GENERATING = "generating"
    EVALUATING = "evaluating"
    PUBLISHING = "publishing"


class JobFault(Value):
    """Why a job failed: the problem type's slug, a title, one sentence for the user, and what offends in its input."""

    type: str
    title: str
    detail: str
    errors: tuple[Fault, ...] = ()


class TrainParams(ConceptTask):
    """A train job: the task. The parent is the head when claimed."""

    kind: Literal[JobKind.TRAIN] = JobKind.TRAIN


class GenerateParams(Value):
    """A generate job: the generation row holds everything, pinned at submission."""

    kind: Literal[JobKind.GENERATE] = JobKind.GENERATE
    generation_id: UUID


class ImportParams(Value):
    """An import job: what the uploaded file, the job's `input_object_id`, is, and what its version is to teach.

    `taught` is what the caller names. `concepts` and `origin` are what the file itself says, if we exported it.
    """

    kind: Literal[JobKind.IMPORT] = JobKind.IMPORT
    file_name: str
    file_sha256: str
    options: ImportOptions = ImportOptions()
    taught: TaughtConcept | None
    concepts: tuple[TaughtConcept, ...] = ()
    origin: Origin | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_release(cls, stored: object) -> object:
        if isinstance(stored, dict) and "ignore_text_encoder" in stored:
            ignored = {"ignore_text_encoder": stored["ignore_text_encoder"]}
            return {key: value for key, value in stored.items() if key != "ignore_text_encoder"} | {"options": ignored}
        return stored

    def every_concept(self) -> tuple[TaughtConcept, ...]:
        """What the caller names, and what the file lists beside it."""
        if self.taught is None:
            return self.concepts
        named = self.taught
        return (named, *(c for c in self.concepts if c.token != named.token and c.name != named.name))

    @property
    def concept_id(self) -> None:
        """What was taught elsewhere is no concept of the user's: there are no images of it here."""


class ReproduceParams(Value):
    """A reproduce job: which version to train again, and the concept whose images that takes."""

    kind: Literal[JobKind.REPRODUCE] = JobKind.REPRODUCE
    version_id: UUID
    concept_id: UUID


class EraseParams(Value):
    """An erase job: which concept, out of everything that shares the lineage's version 0."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    kind: Literal[JobKind.ERASE] = JobKind.ERASE
    # Stored under the name that the release before reads; it cancels whatever names a deleted concept `concept_id`.
    concept_id: UUID = Field(alias="erased_concept_id")
    mode: EraseMode


class EvaluateParams(Value):
    """An evaluate job: the evaluation row holds everything, pinned at submission."""

    kind: Literal[JobKind.EVALUATE] = JobKind.EVALUATE
    evaluation_id: UUID


NewVersionParams = TrainParams | ImportParams
"""What jobs are given that publish a version on top of the head: each says what the version will have learned."""

JobParams = Annotated[
    TrainParams | GenerateParams | ImportParams | ReproduceParams | EraseParams | EvaluateParams,
    Field(discriminator="kind"),
]


class TrainResult(Value):
    """What a train or an import job made: that version of that lineage.

    With the evaluation that follows or, under a gate, has decided; then `gate` says what it found.
    """

    lineage_id: UUID
    version: int
    evaluation_id: UUID | None = Field(None, exclude_if=lambda value: value is None)
    gate: GateVerdict | None = Field(None, exclude_if=lambda value: value is None)


class GenerateResult(Value):
    """What a generate job makes; named from the start, filled when the job succeeds."""

    generation_id: UUID


class ReproduceResult(Value):
    """Whether a version, trained again, has the same adapter, bit for bit; nothing is published.

    `max_abs_difference` is that of any weight's update; null where the two are not of the same modules. `differences`
    are those of the base, the images, the machine and the software, from then to now: what may be why.
    """

    lineage_id: UUID
    version: int
    reproduced: bool
    expected_sha256: str
    got_sha256: str
    max_abs_difference: float | None
    differences: tuple[Difference, ...]


class Replacement(Value):
    """A version that erasing removed, and the number of the one that was made in its place."""

    lineage_id: UUID
    version: int
    replaced_by: int | None


class EraseResult(Value):
    """What an erase job removed. `residual`: factors that were trained in the concept's presence are still in use."""

    lineage_id: UUID
    mode: EraseMode
    residual: bool
    concept_deleted: bool
    versions: tuple[Replacement, ...]


class EvaluateResult(Value):
    """What an evaluate job makes; named from the start, filled when the job succeeds."""

    evaluation_id: UUID


JobResult = TrainResult | GenerateResult | ReproduceResult | EraseResult | EvaluateResult


class Publishes(Enum):
    """What a kind publishes into its lineage."""

    NOTHING = auto()
    NEXT_VERSION = auto()
    """A version on top of the head; the parent is the head when the job is claimed."""
    REPLACEMENTS = auto()
    """Versions in the place of others."""


@dataclass(frozen=True)
class KindTraits:
    """One kind of job, as queues, claims, turns and HTTP see it. What the job does is its handler's, in `worker.jobs`.

    `queue`: the kind whose queue it waits in. `is_long`: it may take minutes, so that other kinds go first.
    `is_gated`: the lineage's evaluation policy applies to its version; an evaluation follows, and a gate may hold it.
    `erases`: it removes the concept that it names. Every other kind needs that concept's images.
    """

    params: type[Value]
    result: type[Value]
    queue: JobKind
    is_long: bool
    publishes: Publishes = Publishes.NOTHING
    is_gated: bool = False
    erases: bool = False


TRAITS: dict[JobKind, KindTraits] = {
    JobKind.TRAIN: KindTraits(
        TrainParams,
        TrainResult,
        queue=JobKind.TRAIN,
        is_long=True,
        publishes=Publishes.NEXT_VERSION,
        is_gated=True,
    ),
    JobKind.GENERATE: KindTraits(GenerateParams, GenerateResult, queue=JobKind.GENERATE, is_long=False),
    JobKind.IMPORT: KindTraits(
        ImportParams,
        TrainResult,
        queue=JobKind.TRAIN,
        is_long=False,
        publishes=Publishes.NEXT_VERSION,
    ),
    JobKind.REPRODUCE: KindTraits(ReproduceParams, ReproduceResult, queue=JobKind.TRAIN, is_long=True),
    JobKind.ERASE: KindTraits(
        EraseParams,
        EraseResult,
        queue=JobKind.TRAIN,
        is_long=True,
        publishes=Publishes.REPLACEMENTS,
        erases=True,
    ),
    JobKind.EVALUATE: KindTraits(EvaluateParams, EvaluateResult, queue=JobKind.EVALUATE, is_long=True),
}

QUEUES = tuple(kind for kind in JobKind if kind.queue is kind)

LONG_KINDS = tuple(kind for kind in JobKind if kind.traits.is_long)
"""The kinds that may take long: other kinds go first."""

PUBLISHING_KINDS = tuple(kind for kind in JobKind if kind.traits.publishes is not Publishes.NOTHING)
"""The kinds that publish into a lineage: one at a time in each, first in, first out."""

NEXT_VERSION_KINDS = tuple(kind for kind in JobKind if kind.traits.publishes is Publishes.NEXT_VERSION)
"""The kinds whose version stands on the head: claiming the job fixes its parent."""

ERASING_KINDS = tuple(kind for kind in JobKind if kind.traits.erases)
"""The kinds that remove the concept that they name."""
