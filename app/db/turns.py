"""Whose turn it is: users take turns, so that one user's thousand jobs do not hold up another's first.

The index `jobs_queue` has the queued jobs by user and kind. It is read by leaps, from each user's and kind's first job
to the next user's or kind's: a claim costs as much as there are users who wait, however many jobs they have.
"""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Select, case, func, select, true, tuple_
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.selectable import LateralFromClause

from app.db.tables import Job
from app.domain.jobs import LONG_KINDS, JobKind, JobStatus

_BEGUN = aliased(Job)
# More than workers claim at one moment; when all are taken, the plain order serves as well.
_CANDIDATES = 16
# Of the worker that decides at this moment whether a long job may begin: Postgres's number of an advisory lock.
_DECIDING = 0x70616C69


def next_job(
    session: Session, kinds: Collection[JobKind], claimable: ColumnElement[bool], *, prefer_short: bool = False
) -> UUID | None:
    """The id of the job of these kinds that is next, its row locked; None when none can be claimed.

    Among users the one goes first whose last job of these kinds began the longest ago. Among a user's kinds it is the
    same, and among the jobs of a kind the oldest. With `prefer_short`, or once long jobs have their share of the
    workers, short ones go first. The candidates are found without locks: a query that sorts after it locks would keep
    everybody's first job from the other workers.
    """
    short = [kind for kind in kinds if kind not in LONG_KINDS]
    is_mixed = 0 < len(short) < len(kinds)
    short_first = is_mixed and (prefer_short or not _may_begin_long(session))
    candidates = session.scalars(_in_turn(kinds, claimable, short_first=short_first).limit(_CANDIDATES)).all()
    for job_id in candidates:
        if (locked := _locked(session, claimable, Job.id == job_id)) is not None:
            return locked
    if not candidates:
        return None
    if short_first and (locked := _locked(session, claimable, Job.kind.in_(short))) is not None:
        return locked
    return _locked(session, claimable, Job.kind.in_(kinds))


def some_waiting(kinds: Collection[JobKind], which: ColumnElement[bool], most: int) -> Select[UUID]:
    """Some of the queued jobs of these kinds, in no order: as many as are found first."""
    waiting = _waiting()
    first = _first_of(waiting, which, most)
    return select(first.c.id).select_from(waiting).join(first, true()).where(waiting.c.kind.in_(kinds)).limit(most)


def _may_begin_long(session: Session) -> bool:
    """Whether one more long job leaves half of the busy workers to short ones; one long job may always run.

    One worker decides at a time, until it commits: of several that start together, each would count no other.
    """
    if not session.scalar(select(func.pg_try_advisory_xact_lock(_DECIDING))):
        return False
    is_long = Job.kind.in_(LONG_KINDS)
    counts = select(func.count(), func.count().filter(is_long)).where(Job.status == JobStatus.RUNNING)
    running, long = session.execute(counts).one()
    return bool(long < max(1, (running + 1) // 2))


def _in_turn(kinds: Collection[JobKind], claimable: ColumnElement[bool], *, short_first: bool) -> Select[UUID]:
    """The first claimable job of each user and kind, in the order in which they are next."""
    waiting = _waiting()
    first = _first_of(waiting, claimable, 1)
    is_long = case((waiting.c.kind.in_(LONG_KINDS), 1), else_=0)
    of_user = func.greatest(*_last_began(waiting, kinds))
    of_kind = func.greatest(*_last_began(waiting, [waiting.c.kind]))
    turns = of_user.asc().nulls_first(), of_kind.asc().nulls_first(), first.c.seq
    return (
        select(first.c.id)
        .select_from(waiting)
        .join(first, true())
        .where(waiting.c.kind.in_(kinds))
        .order_by(*([is_long] if short_first else []), *turns)
    )


def _last_began(waiting: CTE, kinds: Iterable[Any]) -> list[Any]:
    """When a job of the user last began, of each of these kinds; the index `jobs_turns_of_kinds` has it at its end."""
    own: Any = select(func.max(_BEGUN.started_at)).where(_BEGUN.user_id == waiting.c.user_id)
    return [own.where(_BEGUN.kind == kind).correlate(waiting).scalar_subquery() for kind in kinds]


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


def _locked(session: Session, *which: ColumnElement[bool]) -> UUID | None:
    query = select(Job.id).where(*which).order_by(Job.seq).limit(1)
    return session.scalar(query.with_for_update(skip_locked=True))
