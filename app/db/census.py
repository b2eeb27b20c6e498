"""How many rows there are, for metrics: only sweepers ask, and none of these but `stored_bytes` reads a whole table.

Where there is no row the sample is 0: a graph ends where the jobs do, and a scaler sees an empty queue.
"""

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

from sqlalchemy import ColumnElement, Executable, case, func, select
from sqlalchemy.orm import Session

from app.db.deletion_tables import Deletion
from app.db.leases import claimable
from app.db.tables import BaseModelRow, Job, StoredObject
from app.domain.jobs import QUEUES, JobKind, JobStatus

_UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING)
_QUEUE_NAMES = tuple(queue.value for queue in QUEUES)
_QUEUE: ColumnElement[str] = case({kind: kind.queue.value for kind in JobKind}, value=Job.kind)


class Sample(NamedTuple):
    """A number, and the labels that it goes under."""

    labels: tuple[str, ...]
    value: float


def unfinished_jobs(session: Session) -> list[Sample]:
    """By kind and status."""
    counted = select(Job.kind, Job.status, func.count()).where(Job.status.in_(_UNFINISHED))
    every = product((kind.value for kind in JobKind), (status.value for status in _UNFINISHED))
    return _filled(every, _samples(session, counted.group_by(Job.kind, Job.status)))


def claimable_jobs(session: Session) -> list[Sample]:
    """By queue and base model."""
    query = select(_QUEUE, Job.base_model, func.count()).where(claimable())
    every = product(_QUEUE_NAMES, session.scalars(select(BaseModelRow.name)))
    return _filled(every, _samples(session, query.group_by(_QUEUE, Job.base_model)))


def oldest_claimable_seconds(session: Session) -> list[Sample]:
    """By queue: how long its first job has waited since it was queued or may be tried again."""
    since = func.coalesce(Job.not_before, Job.created_at)
    waited = func.max(func.extract("epoch", func.statement_timestamp() - since))
    found = _samples(session, select(_QUEUE, waited).where(claimable()).group_by(_QUEUE))
    return _filled(product(_QUEUE_NAMES), found)


def busy_workers(session: Session) -> list[Sample]:
    """By queue: of an idle worker Postgres knows nothing."""
    count = func.count(func.distinct(Job.worker))
    found = _samples(session, select(_QUEUE, count).where(Job.status == JobStatus.RUNNING).group_by(_QUEUE))
    return _filled(product(_QUEUE_NAMES), found)


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


def _filled(every: Iterable[tuple[str, ...]], found: Iterable[Sample]) -> list[Sample]:
    """The samples found, and a 0 under all other labels of `every`."""
    values = dict.fromkeys(every, 0.0) | {sample.labels: sample.value for sample in found}
    return [Sample(labels, value) for labels, value in values.items()]
