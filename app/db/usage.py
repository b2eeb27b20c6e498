"""How long a user's jobs have run, whether or not the jobs are still there."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import DOUBLE_PRECISION, ColumnElement, ForeignKey, Index, Select, cast, delete, func, insert, select
from sqlalchemy.orm import InstrumentedAttribute, Mapped, Session, mapped_column

from app.db.tables import Job, Table

_WINDOW = timedelta(days=30)


class SpentTime(Table):
    """The running time of a job that went with its lineage: who deletes a lineage gets no time back for it."""

    __tablename__ = "spent_times"
    __table_args__ = (
        Index("spent_times_of_user", "user_id", "started_at"),
        Index("spent_times_started_at", "started_at"),
    )

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    started_at: Mapped[datetime]
    seconds: Mapped[float]


def gpu_seconds(user_id: UUID) -> Select[float]:
    """The time of a user's jobs of the last 30 days, from each one's first start to its end."""
    jobs = _total(_seconds()).where(Job.user_id == user_id, _is_recent(Job.started_at))
    gone = _total(SpentTime.seconds).where(SpentTime.user_id == user_id, _is_recent(SpentTime.started_at))
    return select(jobs.scalar_subquery() + gone.scalar_subquery())


def remember_time(session: Session, lineage_id: UUID) -> None:
    """Keep the time of a lineage's jobs, which are about to be removed with it."""
    spent = select(Job.id, Job.user_id, Job.started_at, _seconds()).where(
        Job.lineage_id == lineage_id, _is_recent(Job.started_at)
    )
    session.execute(insert(SpentTime).from_select(["job_id", "user_id", "started_at", "seconds"], spent))


def forget_old_times(session: Session) -> None:
    """Times that count no more."""
    session.execute(delete(SpentTime).where(SpentTime.started_at <= func.statement_timestamp() - _WINDOW))


def _seconds() -> ColumnElement[float]:
    lasted = func.coalesce(Job.finished_at, func.clock_timestamp()) - Job.started_at
    return func.greatest(cast(func.extract("epoch", lasted), DOUBLE_PRECISION), 0)


def _total(seconds: ColumnElement[float] | InstrumentedAttribute[float]) -> Select[float]:
    return select(func.coalesce(func.sum(seconds), 0))


def _is_recent(
    started_at: InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None],
) -> ColumnElement[bool]:
    return started_at > func.statement_timestamp() - _WINDOW
