"""Whose turn it is: users take turns, so that one user's thousand jobs do not hold up another's first.

The index `jobs_queue` has the queued jobs by user and kind. It is read by leaps, from each user's and kind's first job
to the next user's or kind's: a claim costs as much as there are users who wait, however many jobs they have.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, ScalarSelect, Select, case, func, select, true, tuple_
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.selectable import LateralFromClause

from app.db.tables import Job
from app.domain.jobs import LONG_KINDS, JobKind, JobStatus

_LAST_TURN = aliased(Job)
# More than workers claim at one moment; when all are taken, the plain order serves as well.
_CANDIDATES = 16
_IS_LONG = case((Job.kind.in_(LONG_KINDS), 1), else_=0)


def next_job(session: Session, kinds: Collection[JobKind], claimable: ColumnElement[bool]) -> UUID | None:
    """The id of the job of these kinds that is next, its row locked; None when none can be claimed.

    Generations go before all that takes minutes, as somebody waits for them. Among users the one goes first whose last
    job began the longest ago; among a user's jobs the oldest. The candidates are found without locks: a query that
    sorts after it locks would keep everybody's first job from the other workers.
    """
    candidates = session.scalars(_in_turn(kinds, claimable).limit(_CANDIDATES)).all()
    for job_id in candidates:
        if (locked := _locked(session, claimable, Job.id == job_id)) is not None:
            return locked
    return _locked(session, claimable, Job.kind.in_(kinds)) if candidates else None


def some_waiting(kinds: Collection[JobKind], which: ColumnElement[bool], most: int) -> Select[UUID]:
    """Some of the queued jobs of these kinds, in no order: as many as are found first."""
    waiting = _waiting()
    first = _first_of(waiting, which, most)
    return select(first.c.id).select_from(waiting).join(first, true()).where(waiting.c.kind.in_(kinds)).limit(most)


def _in_turn(kinds: Collection[JobKind], claimable: ColumnElement[bool]) -> Select[UUID]:
    """The first claimable job of each user and kind, in the order in which they are next."""
    waiting = _waiting()
    first = _first_of(waiting, claimable, 1)
    is_long = case((waiting.c.kind.in_(LONG_KINDS), 1), else_=0)
    return (
        select(first.c.id)
        .select_from(waiting)
        .join(first, true())
        .where(waiting.c.kind.in_(kinds))
        .order_by(is_long, _last_turn(waiting).asc().nulls_first(), first.c.seq)
    )


def _first_of(waiting: CTE, which: ColumnElement[bool], count: int) -> LateralFromClause:
    """The oldest queued jobs of each user and kind that waits."""
    is_theirs = Job.user_id == waiting.c.user_id, Job.kind == waiting.c.kind
    oldest = select(Job.id, Job.seq).where(Job.status == JobStatus.QUEUED, *is_theirs, which)
    return oldest.order_by(Job.seq).limit(count).correlate(waiting).lateral("first")


def _waiting() -> CTE:
    """Each user and kind with a queued job, by one leap over the index for each."""
    queued = select(Job.user_id, Job.kind).where(Job.status == JobStatus.QUEUED)
    in_order = queued.order_by(Job.user_id, Job.kind).limit(1)
    waiting = select(in_order.subquery("first_waiting")).cte("waiting", recursive=True)
    following = aliased(Job)
    leap = (
        select(following.user_id, following.kind)
        .where(
            following.status == JobStatus.QUEUED,
            tuple_(following.user_id, following.kind) > tuple_(waiting.c.user_id, waiting.c.kind),
        )
        .order_by(following.user_id, following.kind)
        .limit(1)
        .correlate(waiting)
        .lateral("next_waiting")
    )
    return waiting.union_all(select(leap.c.user_id, leap.c.kind).select_from(waiting).join(leap, true()))


def _last_turn(waiting: CTE) -> ScalarSelect[datetime | None]:
    """When a job of the user last began; the index `jobs_turns` has it at its end."""
    own: Any = select(func.max(_LAST_TURN.started_at)).where(_LAST_TURN.user_id == waiting.c.user_id)
    last: ScalarSelect[datetime | None] = own.correlate(waiting).scalar_subquery()
    return last


def _locked(session: Session, *which: ColumnElement[bool]) -> UUID | None:
    query = select(Job.id).where(*which).order_by(_IS_LONG, Job.seq).limit(1)
    return session.scalar(query.with_for_update(skip_locked=True))
