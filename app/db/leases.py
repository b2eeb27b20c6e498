"""Claims, leases and fenced writes: what a worker may do to a job's row.

Postgres's clock alone decides whether a lease has expired. The attempt number is the fencing token. A worker that was
frozen past its lease, or whose job went to another, matches no row, and so changes nothing.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, exists, func, literal, or_, select, update
from sqlalchemy.orm import Session, aliased

from app.db.tables import Job, Lineage
from app.db.turns import next_job, some_waiting
from app.domain.errors import PalimpsestError
from app.domain.jobs import NEXT_VERSION_KINDS, PUBLISHING_KINDS, QUEUES, JobFault, JobKind, JobStatus, Phase

_UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING)


class LeaseLostError(PalimpsestError):
    """This worker no longer holds the job."""

    slug = "lease-lost"


@dataclass(frozen=True)
class Claim:
    """One attempt at one job: every write of the run is fenced by it."""

    job_id: UUID
    attempt: int

    def fence(self) -> ColumnElement[bool]:
        """The condition under which this attempt may still write."""
        return and_(
            Job.id == self.job_id,
            Job.attempt == self.attempt,
            Job.status == JobStatus.RUNNING,
            Job.lease_expires_at > func.clock_timestamp(),
        )


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    step: int
    total_steps: int
    seconds_per_step: float | None
    loss: float | None


@dataclass(frozen=True)
class Renewal:
    """What a heartbeat brings back."""

    cancel_requested: bool


@dataclass(frozen=True)
class Standing:
    """What a worker that has locked its job learns of it: how often it failed since its last checkpoint, for one."""

    failures: int
    cancel_requested: bool


@dataclass(frozen=True)
class Released:
    """A run that was ended because its lease had expired, and the status that the job has now."""

    job_id: UUID
    attempt: int
    status: JobStatus
    kind: JobKind


def _until(seconds: float) -> ColumnElement[Any]:
    return func.clock_timestamp() + timedelta(seconds=seconds)


def _is_first_of_its_lineage() -> ColumnElement[bool]:
    """Jobs that publish into a lineage go first in, first out, even while the first of them waits out a backoff."""
    earlier = aliased(Job)
    return ~exists().where(
        earlier.lineage_id == Job.lineage_id,
        earlier.kind.in_(PUBLISHING_KINDS),
        earlier.seq < Job.seq,
        earlier.status.in_(_UNFINISHED),
    )


def claimable() -> ColumnElement[bool]:
    """The condition under which a worker may take a job now."""
    return and_(
        Job.status == JobStatus.QUEUED,
        or_(Job.not_before.is_(None), Job.not_before <= func.statement_timestamp()),
        or_(Job.kind.not_in(PUBLISHING_KINDS), _is_first_of_its_lineage()),
    )


def claim(session: Session, kinds: Collection[JobKind], worker: str, lease_seconds: float) -> Claim | None:
    """Claim the next job of these kinds and of those in their queues, or None; `app.db.turns` says which is next.

    The parent of a version that will be published is the lineage's head at this moment. The row is not parsed here: one
    that a newer release has written, and this one cannot read, must not keep a worker from all others.
    """
    queues = {kind.queue for kind in kinds}
    taken = [kind for kind in JobKind if kind.queue in queues]
    job_id = next_job(session, taken, claimable())
    if job_id is None:
        return None
    head = select(Lineage.head_version_id).where(Lineage.id == Job.lineage_id).scalar_subquery()
    attempt = session.scalars(
        update(Job)
        .where(Job.id == job_id)
        .values(
            status=JobStatus.RUNNING,
            attempt=Job.attempt + 1,
            worker=worker,
            lease_expires_at=_until(lease_seconds),
            started_at=func.coalesce(Job.started_at, func.clock_timestamp()),
            parent_version_id=case((Job.kind.in_(NEXT_VERSION_KINDS), head), else_=None),
            phase=Phase.LOADING,
            not_before=None,
        )
        .returning(Job.attempt)
    ).one()
    return Claim(job_id, attempt)


def renew(session: Session, claim: Claim, lease_seconds: float, phase: Phase, progress: Progress | None) -> Renewal:
    """Push the expiry on, and store the phase and, once there is any, the progress.

    Raises:
        LeaseLostError: this attempt no longer holds the job.
    """
    row = session.execute(
        update(Job)
        .where(claim.fence())
        .values(lease_expires_at=_until(lease_seconds), phase=phase, **({} if progress is None else asdict(progress)))
        .returning(Job.cancel_requested_at)
    ).one_or_none()
    if row is None:
        raise LeaseLostError("The lease has expired, or another attempt holds the job.")
    return Renewal(cancel_requested=row[0] is not None)


def lock(session: Session, claim: Claim) -> Standing:
    """Lock the job's row until the transaction ends.

    Raises:
        LeaseLostError: this attempt no longer holds the job.
    """
    query = select(Job.failures, Job.cancel_requested_at.is_not(None)).where(claim.fence()).with_for_update()
    row = session.execute(query).one_or_none()
    if row is None:
        raise LeaseLostError("The lease has expired, or another attempt holds the job.")
    return Standing(failures=row[0], cancel_requested=row[1])


def write(session: Session, claim: Claim, **values: object) -> JobStatus:
    """A fenced write to the job's row; the status that it has now.

    Raises:
        LeaseLostError: this attempt no longer holds the job; nothing was written.
    """
    statement = update(Job).where(claim.fence()).values(**values).returning(Job.status)
    status: JobStatus | None = session.scalar(statement)
    if status is None:
        raise LeaseLostError("The lease has expired, or another attempt holds the job.")
    return status


def finish(session: Session, claim: Claim, status: JobStatus, **values: object) -> JobStatus:
    """Move the job to a terminal status, within the transaction that publishes what it made."""
    ended = {"status": status, "finished_at": func.clock_timestamp()}
    return write(session, claim, lease_expires_at=None, worker=None, phase=None, **ended, **values)


def hand_back(session: Session, claim: Claim) -> JobStatus:
    """Put the job back at a warm shutdown; it counts as no failure."""
    return write(session, claim, lease_expires_at=None, worker=None, phase=None, **_queued_unless_canceled())


def put_off(
    session: Session, claim: Claim, fault: JobFault, after_seconds: float, *, is_failure: bool = True
) -> JobStatus:
    """Queue the job again after an error worth another try, keeping the error for people to see."""
    return write(
        session,
        claim,
        lease_expires_at=None,
        worker=None,
        phase=None,
        error=case((_CANCELED, None), else_=literal(fault, Job.error.type)),
        failures=Job.failures + int(is_failure),
        not_before=_until(after_seconds),
        **_queued_unless_canceled(),
    )


_CANCELED = Job.cancel_requested_at.is_not(None)


def _queued_unless_canceled() -> dict[str, object]:
    """A job whose cancellation was asked for goes to no queue: it would be claimed by nobody, and end never."""
    return {
        "status": case((_CANCELED, JobStatus.CANCELED), else_=JobStatus.QUEUED),
        "finished_at": case((_CANCELED, func.clock_timestamp()), else_=None),
    }


def release_expired(session: Session, max_failures: int, fault: JobFault) -> list[Released]:
    """End every run whose lease has expired: queued again, failed after too many, or canceled if that was asked."""
    is_poison = Job.failures + 1 >= max_failures
    is_over = or_(is_poison, _CANCELED)
    expired = (
        select(Job.id)
        .where(Job.status == JobStatus.RUNNING, Job.lease_expires_at <= func.statement_timestamp())
        .with_for_update(skip_locked=True)
    )
    rows = session.execute(
        update(Job)
        .where(Job.id.in_(expired))
        .values(
            status=case((_CANCELED, JobStatus.CANCELED), (is_poison, JobStatus.FAILED), else_=JobStatus.QUEUED),
            failures=Job.failures + 1,
            error=case((_CANCELED, None), (is_poison, literal(fault, Job.error.type)), else_=Job.error),
            finished_at=case((is_over, func.clock_timestamp()), else_=None),
            lease_expires_at=None,
            worker=None,
            phase=None,
        )
        .returning(Job.id, Job.attempt, Job.status, Job.kind)
    )
    return [Released(*row) for row in rows]


def kinds_to_wake(session: Session, after_seconds: float, most: int) -> dict[JobKind, int]:
    """How many workers of each queue to wake, `most` at most: one for each claimable job that nobody took in that time.

    Only these are marked as woken: each worker that wakes up works on until nothing is left.
    """
    counts: dict[JobKind, int] = {}
    for queue in QUEUES:
        kinds = [kind for kind in JobKind if kind.queue is queue]
        is_late = Job.woken_at < func.statement_timestamp() - timedelta(seconds=after_seconds)
        found = session.scalars(some_waiting(kinds, and_(claimable(), is_late), most)).all()
        late = select(Job.id).where(Job.id.in_(found), is_late).with_for_update(skip_locked=True)
        woken = update(Job).where(Job.id.in_(late)).values(woken_at=func.clock_timestamp()).returning(Job.id)
        if count := len(session.scalars(woken).all()):
            counts[queue] = count
    return counts
