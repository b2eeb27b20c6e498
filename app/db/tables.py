"""The tables. Times are Postgres's own; a `deleted_at` is a tombstone: hidden at once, purged by the sweeper.

Constraints here hold the rules that races would break. One job at a time publishes into a lineage. Version numbers are
never reused. Names are unique among what is not deleted.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

from pydantic import TypeAdapter
from sqlalchemy import BigInteger, DateTime, Enum, ForeignKey, Identity, Index, UniqueConstraint, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from app.db.types import Json
from app.domain.base_models import BaseModelManifest
from app.domain.concepts import ConceptKind, TaughtConcept
from app.domain.errors import Fault
from app.domain.evaluations import EvaluationPolicy
from app.domain.jobs import PUBLISHING_KINDS, JobFault, JobKind, JobParams, JobResult, JobStatus, Phase
from app.domain.keys import KeyScope
from app.domain.lineages import AnyProvenance, ImportProvenance, Provenance, VersionStatus
from app.domain.quotas import QuotaOverrides
from app.domain.strategies import AnyStrategy, StrategyOptions
from app.domain.strategies_by_kind import FollowedOptions, FollowedStrategy
from app.domain.training import TrainingOptions

_FAULTS = Json(TypeAdapter[tuple[Fault, ...]](tuple[Fault, ...]))
_TRAINING = Json(TypeAdapter[TrainingOptions](TrainingOptions))


class Table(MappedAsDataclass, DeclarativeBase, kw_only=True):
    """The base of every table: rows are keyword-only dataclasses."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own declaration
        datetime: DateTime(timezone=True),
        StrEnum: Enum(StrEnum, native_enum=False, length=32, values_callable=lambda kind: [m.value for m in kind]),
    }


class Identified(MappedAsDataclass, kw_only=True):
    """A row with an id and a birth time, listed newest first."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=uuid4)
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.clock_timestamp())


def listed(table: str, owner: str = "user_id") -> Index:
    """The index of a list: what an owner has, in the order of pages."""
    return Index(f"{table}_listed", owner, "created_at", "id")


def tombstones(table: str) -> Index:
    """The index of what the sweeper has to purge: in most rounds nothing."""
    return Index(f"{table}_tombstones", "id", postgresql_where=text("deleted_at IS NOT NULL"))


class Tombstoned(MappedAsDataclass, kw_only=True):
    """A row that DELETE only marks; the sweeper purges it."""

    deleted_at: Mapped[datetime | None] = mapped_column(default=None)


class User(Identified, Tombstoned, Table):
    """Somebody with keys; everything else belongs to a user."""

    __tablename__ = "users"
    __table_args__ = (
        Index("users_name", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),
        Index("users_listed", "created_at", "id"),
        tombstones("users"),
    )

    name: Mapped[str]
    is_admin: Mapped[bool] = mapped_column(default=False)
    quotas: Mapped[QuotaOverrides | None] = mapped_column(
        Json(TypeAdapter[QuotaOverrides](QuotaOverrides)), default=None
    )


class ApiKey(Identified, Table):
    """An API key, of which only the hash is kept; keys are random, so a plain SHA-256 is enough."""

    __tablename__ = "api_keys"
    __table_args__ = (listed("api_keys"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str]
    sha256: Mapped[str] = mapped_column(unique=True)
    scope: Mapped[KeyScope]
    # Where the release before counts; `paces` has taken its place.
    paced_until: Mapped[datetime | None] = mapped_column(default=None)
    last_used_at: Mapped[datetime | None] = mapped_column(default=None)
    revoked_at: Mapped[datetime | None] = mapped_column(default=None)


class UserPace(Table):
    """When a sender that kept to the rate would have sent what this user has sent (GCRA), over all front ends.

    Unlogged: a crash forgets the last moments of it, and nothing is written twice.
    """

    __tablename__ = "paces"
    __table_args__ = {"prefixes": ["UNLOGGED"]}  # noqa: RUF012 - SQLAlchemy's own declaration

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    until: Mapped[datetime]


class BaseModelRow(Table):
    """A registered base model: where its weights are and what is known of it.

    `alias`: another name, which the newest of several versions has. `fingerprint`: the weights that a version's name
    stands for, null of a base without versions. `found_fingerprint`: the weights that were found at its source last,
    null before anybody has looked.
    """

    __tablename__ = "base_models"

    name: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str]
    manifest: Mapped[BaseModelManifest] = mapped_column(Json(TypeAdapter[BaseModelManifest](BaseModelManifest)))
    alias: Mapped[str | None] = mapped_column(default=None)
    fingerprint: Mapped[str | None] = mapped_column(default=None)
    found_fingerprint: Mapped[str | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.clock_timestamp())


class ObjectStatus(StrEnum):
    """`pending`: the put may not have happened. `live`: a row names it. `dead`: to be collected."""

    PENDING = "pending"
    LIVE = "live"
    DEAD = "dead"


class StoredObject(Identified, Table):
    """One object in S3: written once under its key, its hash checked on each read."""

    __tablename__ = "objects"
    __table_args__ = (
        Index("objects_uncollected", "status", "created_at", postgresql_where=text("status <> 'live'")),
        Index("objects_of_deletion", "deletion_id", postgresql_where=text("deletion_id IS NOT NULL")),
        Index("objects_unpublished", "job_id", postgresql_where=text("status = 'pending'")),
        # Quotas add up the sizes without reading the rows.
        Index("objects_of_user", "user_id", postgresql_include=["size_bytes"]),
    )

    user_id: Mapped[UUID]  # no foreign key: the row outlives its user until collected
    kind: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    content_type: Mapped[str]
    status: Mapped[ObjectStatus] = mapped_column(default=ObjectStatus.PENDING)
    # No foreign keys: the job that put it and the report of its deletion may go first.
    job_id: Mapped[UUID | None] = mapped_column(default=None)
    deletion_id: Mapped[UUID | None] = mapped_column(default=None)


class Concept(Identified, Tombstoned, Table):
    """What a user teaches."""

    __tablename__ = "concepts"
    __table_args__ = (
        Index("concepts_name", "user_id", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),
        listed("concepts"),
        Index("concepts_tombstones", "id", postgresql_where=text("deleted_at IS NOT NULL AND purged_at IS NULL")),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str]
    kind: Mapped[ConceptKind]
    class_noun: Mapped[str | None]
    # Its images are gone; the row stays as long as a version has learned it, and the sweeper need not look again.
    purged_at: Mapped[datetime | None] = mapped_column(default=None)
    warnings: Mapped[tuple[Fault, ...]] = mapped_column(_FAULTS, default_factory=tuple)


class ConceptImage(Table):
    """Image `position` (from 0) of a concept."""

    __tablename__ = "concept_images"

    concept_id: Mapped[UUID] = mapped_column(ForeignKey("concepts.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    object_id: Mapped[UUID] = mapped_column(ForeignKey("objects.id"), index=True)
    width: Mapped[int]
    height: Mapped[int]


class Lineage(Identified, Tombstoned, Table):
    """One user's versions over one base model under one strategy.

    Its history is what it made, and the ancestry of the version that it was forked from: see `app.db.histories`.
    """

    __tablename__ = "lineages"
    __table_args__ = (listed("lineages"), tombstones("lineages"))

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str]
    base_model: Mapped[str] = mapped_column(ForeignKey("base_models.name"))
    strategy: Mapped[FollowedOptions] = mapped_column(Json(TypeAdapter[FollowedOptions](FollowedStrategy)))
    training: Mapped[TrainingOptions] = mapped_column(_TRAINING)
    evaluation: Mapped[EvaluationPolicy] = mapped_column(
        Json(TypeAdapter[EvaluationPolicy](EvaluationPolicy)), default_factory=EvaluationPolicy
    )
    allow_changed_base: Mapped[bool] = mapped_column(default=False)
    head_version_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("versions.id", use_alter=True, name="lineages_head_version_id_fkey"), default=None, index=True
    )
    forked_from_version_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("versions.id", use_alter=True, name="lineages_forked_from_version_id_fkey"), default=None, index=True
    )
    next_number: Mapped[int] = mapped_column(default=1)

    def take_number(self) -> int:
        """A number for a new version, which no version of this history has or had. The lineage must be locked."""
        number = self.next_number
        self.next_number += 1
        return number


class Version(Identified, Table):
    """An immutable member of the lineage that made it. Version 0 is the base: no parent, no concept, no adapter."""

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("lineage_id", "number"),)

    lineage_id: Mapped[UUID] = mapped_column(ForeignKey("lineages.id", ondelete="CASCADE"))
    number: Mapped[int]
    status: Mapped[VersionStatus]
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("versions.id"), default=None, index=True)
    concept_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("concepts.id", ondelete="SET NULL"), default=None, index=True
    )
    taught: Mapped[TaughtConcept | None] = mapped_column(Json(TypeAdapter[TaughtConcept](TaughtConcept)), default=None)
    strategy: Mapped[StrategyOptions | None] = mapped_column(
        Json(TypeAdapter[StrategyOptions](AnyStrategy)), default=None
    )
    training: Mapped[TrainingOptions | None] = mapped_column(
        Json(TypeAdapter[TrainingOptions](TrainingOptions)), default=None
    )
    adapter_object_id: Mapped[UUID | None] = mapped_column(ForeignKey("objects.id"), default=None, index=True)
    # What the strategy keeps for the next task beside the adapter (`ewc`); most keep nothing.
    strategy_state_object_id: Mapped[UUID | None] = mapped_column(ForeignKey("objects.id"), default=None, index=True)
    provenance: Mapped[AnyProvenance | None] = mapped_column(
        Json(TypeAdapter[AnyProvenance](AnyProvenance)), default=None
    )

    def every_concept(self) -> tuple[TaughtConcept, ...]:
        """What it teaches: one concept, none, or all that an imported file had learned."""
        if isinstance(self.provenance, ImportProvenance) and self.provenance.concepts:
            return self.provenance.concepts
        return () if self.taught is None else (self.taught,)


class Generation(Identified, Tombstoned, Table):
    """Pictures asked for: the version, the seed and the resolved prompt are pinned at submission."""

    __tablename__ = "generations"
    __table_args__ = (listed("generations"), tombstones("generations"))

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    lineage_id: Mapped[UUID] = mapped_column(ForeignKey("lineages.id", ondelete="CASCADE"), index=True)
    version_id: Mapped[UUID] = mapped_column(ForeignKey("versions.id", ondelete="CASCADE"), index=True)
    prompt: Mapped[str]
    resolved_prompt: Mapped[str]
    negative_prompt: Mapped[str | None]
    num_images: Mapped[int]
    seed: Mapped[int] = mapped_column(BigInteger)
    steps: Mapped[int]
    guidance_scale: Mapped[float]
    # Null, of what was asked for before there were sizes: the base model's resolution.
    width: Mapped[int | None]
    height: Mapped[int | None]
    exact: Mapped[bool] = mapped_column(default=False)
    warnings: Mapped[tuple[Fault, ...]] = mapped_column(_FAULTS, default_factory=tuple)


class GenerationImage(Table):
    """Picture `position` (from 0) of a generation."""

    __tablename__ = "generation_images"

    generation_id: Mapped[UUID] = mapped_column(ForeignKey("generations.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    object_id: Mapped[UUID] = mapped_column(ForeignKey("objects.id"), index=True)


STANDS_ON = {"stands_on": True}
"""Marks a foreign key of a job to what it stands on at this attempt; without it the next attempt stands elsewhere."""

_UNFINISHED = text("status IN ('queued', 'running')")
_PUBLISHING = ", ".join(f"'{kind.value}'" for kind in PUBLISHING_KINDS)


class Job(Identified, Table):
    """A piece of work. `attempt` is the fencing token: every write of a run names it (see `app.db.leases`)."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "jobs_one_publishing_per_lineage",
            "lineage_id",
            unique=True,
            postgresql_where=text(f"kind IN ({_PUBLISHING}) AND status = 'running'"),
        ),
        Index("jobs_unfinished", "seq", postgresql_where=_UNFINISHED),
        Index("jobs_checkpoint", "checkpoint_object_id", postgresql_where=text("checkpoint_object_id IS NOT NULL")),
        Index("jobs_input", "input_object_id", postgresql_where=text("input_object_id IS NOT NULL")),
        *(
            Index(f"jobs_{name}", name, postgresql_where=text(f"{name} IS NOT NULL"))
            for name in ("concept_id", "version_id", "generation_id", "evaluation_id")
        ),
        Index("jobs_turns", "user_id", "started_at"),
        Index("jobs_queue", "user_id", "kind", "seq", postgresql_where=text("status = 'queued'")),
        Index("jobs_running", "lease_expires_at", postgresql_where=text("status = 'running'")),
        Index("jobs_drawn", "finished_at", postgresql_where=text("generation_id IS NOT NULL")),
        listed("jobs"),
        Index("jobs_unfinished_of_lineage", "lineage_id", "seq", postgresql_where=_UNFINISHED),
    )

    seq: Mapped[int] = mapped_column(BigInteger, Identity(), init=False, unique=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    lineage_id: Mapped[UUID] = mapped_column(ForeignKey("lineages.id", ondelete="CASCADE"), index=True)
    base_model: Mapped[str]
    kind: Mapped[JobKind]
    params: Mapped[JobParams] = mapped_column(Json(TypeAdapter[JobParams](JobParams)))
    status: Mapped[JobStatus] = mapped_column(default=JobStatus.QUEUED)
    input_object_id: Mapped[UUID | None] = mapped_column(ForeignKey("objects.id"), default=None)

    # What it works on, as `params` names it: `app.db.references` finds by these keys what hangs on a row.
    concept_id: Mapped[UUID | None] = mapped_column(ForeignKey("concepts.id", ondelete="SET NULL"), default=None)
    version_id: Mapped[UUID | None] = mapped_column(ForeignKey("versions.id", ondelete="SET NULL"), default=None)
    generation_id: Mapped[UUID | None] = mapped_column(ForeignKey("generations.id", ondelete="SET NULL"), default=None)
    # An evaluation names its job too, so the job comes first and the key is checked at the commit.
    evaluation_id: Mapped[UUID | None] = mapped_column(
        ForeignKey(
            "evaluations.id",
            ondelete="SET NULL",
            deferrable=True,
            initially="DEFERRED",
            use_alter=True,
            name="jobs_evaluation_id_fkey",
        ),
        default=None,
    )

    result: Mapped[JobResult | None] = mapped_column(Json(TypeAdapter[JobResult](JobResult)), default=None)
    error: Mapped[JobFault | None] = mapped_column(Json(TypeAdapter[JobFault](JobFault)), default=None)

    # The lease.
    attempt: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(default=None)
    lease_expires_at: Mapped[datetime | None] = mapped_column(default=None)
    parent_version_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("versions.id", ondelete="SET NULL"), default=None, index=True, info=STANDS_ON
    )
    cancel_requested_at: Mapped[datetime | None] = mapped_column(default=None)

    # Retries and wake-ups.
    failures: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime | None] = mapped_column(default=None)
    woken_at: Mapped[datetime | None] = mapped_column(server_default=func.clock_timestamp(), init=False)

    # Progress.
    phase: Mapped[Phase | None] = mapped_column(default=None)
    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int] = mapped_column(default=0)
    seconds_per_step: Mapped[float | None] = mapped_column(default=None)
    loss: Mapped[float | None] = mapped_column(default=None)
    checkpoint_object_id: Mapped[UUID | None] = mapped_column(ForeignKey("objects.id"), default=None)
    checkpoint_parent_id: Mapped[UUID | None] = mapped_column(default=None)
    checkpoint_step: Mapped[int | None] = mapped_column(default=None)

    started_at: Mapped[datetime | None] = mapped_column(default=None)
    finished_at: Mapped[datetime | None] = mapped_column(default=None)


class ErasureDraft(Table):
    """A version that an unfinished erase job has trained: its adapter, and the version that it will replace.

    Versions never change, so a draft holds as long as the version that it is for is there.
    """

    __tablename__ = "erasure_drafts"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    version_id: Mapped[UUID] = mapped_column(primary_key=True)
    adapter_object_id: Mapped[UUID] = mapped_column(ForeignKey("objects.id"), index=True)
    provenance: Mapped[Provenance] = mapped_column(Json(TypeAdapter[Provenance](Provenance)))
    strategy_state_object_id: Mapped[UUID | None] = mapped_column(ForeignKey("objects.id"), default=None, index=True)


class ErasedVersion(Table):
    """A number that a lineage showed until the version was erased, and the token that the version taught.

    That is all that is left of it. The token is given to nobody else: what was trained beside it may still heed it.
    """

    __tablename__ = "erased_versions"

    lineage_id: Mapped[UUID] = mapped_column(ForeignKey("lineages.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str | None]
    erased_at: Mapped[datetime] = mapped_column(init=False, server_default=func.clock_timestamp())


class IdempotencyKey(Table):
    """The first answer to a POST that carried an `Idempotency-Key`."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    status_code: Mapped[int]
    body: Mapped[str]
    location: Mapped[str | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(init=False, server_default=func.clock_timestamp(), index=True)
