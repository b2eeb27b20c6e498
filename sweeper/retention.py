"""What is not to be kept for longer than the operator wants: pictures, and checkpoints of jobs that wait."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.db.deletion_tables import Deletion
from app.db.tables import Generation, Job, StoredObject
from app.domain.deletions import DeletedKind, DeletionReason
from app.domain.jobs import JobStatus
from app.settings import Settings
from sweeper.collection import drop_checkpoints


def expire(session: Session, settings: Settings) -> None:
    """Put what is too old under a tombstone, or leave it to the collector; whatever a setting does not name is kept."""
    if settings.generation_retention_days is not None:
        _expire_generations(session, settings.generation_retention_days)
    if settings.checkpoint_retention_days is not None:
        _expire_checkpoints(session, settings.checkpoint_retention_days)


def _expire_generations(session: Session, days: float) -> None:
    """From the end of its job on: a picture that waited a week in the queue is as new as any other."""
    drawn = select(Job.generation_id).where(Job.generation_id.is_not(None), _is_older(Job.finished_at, days))
    old = (
        select(Generation.id)
        .where(Generation.deleted_at.is_(None), Generation.id.in_(drawn))
        .with_for_update(skip_locked=True)
    )
    expired: list[tuple[UUID, UUID]] = [
        (row.id, row.user_id)
        for row in session.execute(
            update(Generation)
            .where(Generation.id.in_(old))
            .values(deleted_at=func.clock_timestamp())
            .returning(Generation.id, Generation.user_id)
            .execution_options(synchronize_session=False)
        )
    ]
    session.add_all(
        Deletion(id=id_, user_id=user_id, kind=DeletedKind.GENERATION, reason=DeletionReason.RETENTION)
        for id_, user_id in expired
    )


def _expire_checkpoints(session: Session, days: float) -> None:
    """Of jobs that wait: a running one writes a new one soon, and one that has ended has none."""
    old = select(StoredObject.id).where(_is_older(StoredObject.created_at, days))
    drop_checkpoints(session, Job.status == JobStatus.QUEUED, Job.checkpoint_object_id.in_(old))


def _is_older(since: InstrumentedAttribute, days: float) -> ColumnElement[bool]:  # type: ignore[type-arg]
    return since < func.statement_timestamp() - timedelta(days=days)
