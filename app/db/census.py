"""How many rows there are, for metrics: only sweepers ask, and none of these but `stored_bytes` reads a whole table."""

from typing import NamedTuple

from sqlalchemy import ColumnElement, Executable, case, func, select
from sqlalchemy.orm import Session

from app.db.deletion_tables import Deletion
from app.db.leases import claimable
from app.db.tables import Job, StoredObject
from app.domain.jobs import JobKind, JobStatus

_UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING)
_QUEUE: ColumnElement[str] = case({kind: kind.queue.value for kind in JobKind}, value=Job.kind)


class Sample(NamedTuple):
    """A number, and the labels that it goes under."""

    labels: tuple[str, ...]
    value: float


def unfinished_jobs(session: Session) -> list[Sample]:
    """By kind and status; where there is no job it is 0, so that a graph ends where the jobs do."""
    counted = select(Job.kind, Job.status, func.count()).where(Job.status.in_(_UNFINISHED))
    found = {sample.labels: sample for sample in _samples(session, counted.group_by(Job.kind, Job.status))}
    every = [(kind.value, status.value) for kind in JobKind for status in _UNFINISHED]
    return [found.get(labels, Sample(labels, 0)) for labels in every]


def claimable_jobs(session: Session) -> list[Sample]:
    """By queue and base model."""
    query = select(_QUEUE, Job.base_model, func.count()).where(claimable())
    return _samples(session, query.group_by(_QUEUE, Job.base_model))


def oldest_claimable_seconds(session: Session) -> list[Sample]:
    """By queue: how long its first job has waited since it was queued or may be tried again."""
    since = func.coalesce(Job.not_before, Job.created_at)
    waited = func.max(func.extract("epoch", func.statement_timestamp() - since))
    return _samples(session, select(_QUEUE, waited).where(claimable()).group_by(_QUEUE))


def busy_workers(session: Session) -> list[Sample]:
    """By queue: of an idle worker Postgres knows nothing."""
    count = func.count(func.distinct(Job.worker))
    return _samples(session, select(_QUEUE, count).where(Job.status == JobStatus.RUNNING).group_by(_QUEUE))


def oldest_open_deletion_seconds(session: Session) -> float:
    """How long the oldest deletion has not been complete; 0 where all are."""
    age = func.max(func.extract("epoch", func.statement_timestamp() - Deletion.created_at))
    return float(session.scalar(select(age).where(Deletion.completed_at.is_(None))) or 0)


def stored_bytes(session: Session) -> list[Sample]:
    """By kind of object."""
    total = func.sum(StoredObject.size_bytes)
    return _samples(session, select(StoredObject.kind, total).group_by(StoredObject.kind))


def _samples(session: Session, query: Executable) -> list[Sample]:
    return [Sample(tuple(map(str, labels)), float(value)) for *labels, value in session.execute(query)]
