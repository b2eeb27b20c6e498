"""Whose turn it is: users take turns, so that one user's thousand jobs do not hold up another's first."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, ScalarSelect, case, func, select, true
from sqlalchemy.orm import Session, aliased

from app.db.tables import Job, User
from app.domain.jobs import LONG_KINDS

_LAST_TURN = aliased(Job)
# More than workers claim at one moment; when all are taken, the plain order serves as well.
_CANDIDATES = 16
_IS_LONG = case((Job.kind.in_(LONG_KINDS), 1), else_=0)


def next_job(session: Session, claimable: ColumnElement[bool]) -> UUID | None:
    """The id of the job that is next, its row locked; None when none can be claimed.

    Generations go before all that takes minutes, as somebody waits for them. Among users the one goes first whose last
    job began the longest ago; among a user's jobs the oldest. The candidates are found without locks: a query that
    sorts after it locks would keep everybody's first job from the other workers.
    """
    first = (
        select(Job.id, _IS_LONG.label("is_long"), Job.seq)
        .where(Job.user_id == User.id, claimable)
        .order_by("is_long", Job.seq)
        .limit(1)
        .correlate(User)
        .lateral("first")
    )
    turns = (
        select(first.c.id)
        .select_from(User)
        .join(first, true())
        .order_by(first.c.is_long, _last_turn().asc().nulls_first(), first.c.seq)
        .limit(_CANDIDATES)
    )
    for job_id in session.scalars(turns).all():
        if (locked := _locked(session, claimable, Job.id == job_id)) is not None:
            return locked
    return _locked(session, claimable)


def _last_turn() -> ScalarSelect[datetime | None]:
    """When a job of the user last began; the index `jobs_turns` has it at its end."""
    return (
        select(func.max(_LAST_TURN.started_at)).where(_LAST_TURN.user_id == User.id).correlate(User).scalar_subquery()
    )


def _locked(session: Session, *which: ColumnElement[bool]) -> UUID | None:
    query = select(Job.id).where(*which).order_by(_IS_LONG, Job.seq).limit(1)
    return session.scalar(query.with_for_update(skip_locked=True))
