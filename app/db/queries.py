"""The front end's reads: each hides what is foreign or deleted, so that a foreign id is as unknown as any other."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Update, case, func, null, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.db.histories import ancestry_of, in_history, on_head_path
from app.db.tables import (
    Concept,
    ConceptImage,
    Generation,
    GenerationImage,
    Job,
    Lineage,
    StoredObject,
    Version,
)
from app.domain.jobs import PUBLISHING_KINDS, JobStatus

UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING)


def concepts_of(user_id: UUID) -> Select[Concept]:
    """The concepts of a user."""
    return select(Concept).where(Concept.user_id == user_id, Concept.deleted_at.is_(None))


def concept_images(concept_ids: Sequence[UUID]) -> Select[ConceptImage, StoredObject]:
    """The images of these concepts, in order."""
    return (
        select(ConceptImage, StoredObject)
        .join(StoredObject, StoredObject.id == ConceptImage.object_id)
        .where(ConceptImage.concept_id.in_(concept_ids))
        .order_by(ConceptImage.concept_id, ConceptImage.position)
    )


def lineages_of(user_id: UUID) -> Select[Lineage, int, int | None]:
    """The lineages of a user, each with the number of its head and, for a branch, of its fork."""
    fork = aliased(Version)
    return (
        select(Lineage, Version.number, fork.number)
        .join(Version, Version.id == Lineage.head_version_id)
        .outerjoin(fork, fork.id == Lineage.forked_from_version_id)
        .where(Lineage.user_id == user_id, Lineage.deleted_at.is_(None))
    )


def versions_of(lineage_id: UUID) -> Select[Version, int | None, StoredObject | None, bool]:
    """The versions of a lineage's history, each with its parent's number, its adapter, and `on_head_path`."""
    parent = aliased(Version)
    return (
        select(Version, parent.number, StoredObject, on_head_path(lineage_id))
        .outerjoin(parent, parent.id == Version.parent_id)
        .outerjoin(StoredObject, StoredObject.id == Version.adapter_object_id)
        .where(in_history(lineage_id))
    )


async def ancestry(session: AsyncSession, version_id: UUID) -> Sequence[Version]:
    """The version and all its ancestors, the base among them, oldest first."""
    return (await session.scalars(ancestry_of(version_id))).all()


def generations_of(user_id: UUID) -> Select[Generation, int, Job]:
    """The generations of a user, each with the number of its version and the job that draws it."""
    return (
        select(Generation, Version.number, Job)
        .join(Version, Version.id == Generation.version_id)
        .join(Lineage, Lineage.id == Generation.lineage_id)
        .join(Job, Job.generation_id == Generation.id)
        .where(Generation.user_id == user_id, Generation.deleted_at.is_(None), Lineage.deleted_at.is_(None))
    )


def generation_images(generation_ids: Sequence[UUID]) -> Select[GenerationImage, StoredObject]:
    """The pictures of these generations, in order."""
    return (
        select(GenerationImage, StoredObject)
        .join(StoredObject, StoredObject.id == GenerationImage.object_id)
        .where(GenerationImage.generation_id.in_(generation_ids))
        .order_by(GenerationImage.generation_id, GenerationImage.position)
    )


def jobs_of(user_id: UUID) -> Select[Job]:
    """The jobs of a user."""
    own = select(Job).join(Lineage, Lineage.id == Job.lineage_id)
    return own.where(Job.user_id == user_id, Lineage.deleted_at.is_(None))


def places(user_id: UUID, job_ids: Sequence[UUID]) -> Select[UUID, int]:
    """The places of these jobs in the queue, all counted in one reading of it; see `queue_place`."""
    place = func.row_number().over(partition_by=Job.kind, order_by=Job.seq) - 1
    queued = Job.user_id == user_id, Job.status == JobStatus.QUEUED
    queue = select(Job.id, place.label("place")).where(*queued).subquery()
    return select(queue.c.id, queue.c.place).where(queue.c.id.in_(job_ids))


def queue_place() -> ColumnElement[int | None]:
    """How many queued jobs of its kind its user has before a job; null once it is not queued.

    Only the user's own: other users' would tell how busy they are, and turns are taken user by user anyway.
    """
    earlier = aliased(Job)
    before = (
        select(func.count())
        .where(
            earlier.user_id == Job.user_id,
            earlier.kind == Job.kind,
            earlier.status == JobStatus.QUEUED,
            earlier.seq < Job.seq,
        )
        .correlate(Job)
        .scalar_subquery()
    )
    return case((Job.status == JobStatus.QUEUED, before), else_=null())


def job_of(user_id: UUID, job_id: UUID) -> Select[Job, int | None]:
    """One job of a user, and its place in the queue."""
    return jobs_of(user_id).add_columns(queue_place()).where(Job.id == job_id)


def unfinished_publishing(lineage_id: UUID) -> Select[Job]:
    """The jobs that will still publish into a lineage, in the order in which they will."""
    return (
        select(Job)
        .where(Job.lineage_id == lineage_id, Job.kind.in_(PUBLISHING_KINDS), Job.status.in_(UNFINISHED))
        .order_by(Job.seq)
    )


def canceled(*which: ColumnElement[bool]) -> Update:
    """Ends these jobs that are queued; asks the workers of those that run to stop."""
    is_queued = Job.status == JobStatus.QUEUED
    # Locked by id, so that two who cancel several of the same take turns.
    chosen = select(Job.id).where(Job.status.in_(UNFINISHED), *which).order_by(Job.id).with_for_update()
    return (
        update(Job)
        .where(Job.id.in_(chosen), Job.status.in_(UNFINISHED))
        .values(
            status=case((is_queued, JobStatus.CANCELED), else_=Job.status),
            finished_at=case((is_queued, func.clock_timestamp()), else_=None),
            error=None,
            cancel_requested_at=func.coalesce(Job.cancel_requested_at, func.clock_timestamp()),
        )
        .execution_options(synchronize_session=False)
    )
