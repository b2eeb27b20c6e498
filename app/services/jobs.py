"""Jobs as their owners see them: looking, and canceling."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.pages import Page, Window, fetch_page
from app.db.queries import canceled, job_of, jobs_of, places
from app.db.tables import Job
from app.domain.errors import ConflictError, NotFoundError
from app.domain.jobs import JobKind, JobStatus


class PlacedJob(NamedTuple):
    """A job and its place in the queue."""

    job: Job
    place: int | None


async def list_jobs(
    session: AsyncSession,
    user_id: UUID,
    window: Window,
    kind: JobKind | None,
    status: JobStatus | None,
    lineage_id: UUID | None,
) -> Page[PlacedJob]:
    """The user's jobs, newest first."""
    query = jobs_of(user_id)
    if kind is not None:
        query = query.where(Job.kind == kind)
    if status is not None:
        query = query.where(Job.status == status)
    if lineage_id is not None:
        query = query.where(Job.lineage_id == lineage_id)
    page = await fetch_page(session, query, Job, window)
    queued = [job.id for (job,) in page.items if job.status is JobStatus.QUEUED]
    found = (await session.execute(places(user_id, queued))).all() if queued else []
    place_of = {row.id: row.place for row in found}
    return page.map(lambda row: PlacedJob(row[0], place_of.get(row[0].id)))


async def get_job(session: AsyncSession, user_id: UUID, job_id: UUID) -> PlacedJob:
    """One job.

    Raises:
        NotFoundError: the user has no such job.
    """
    query = job_of(user_id, job_id).execution_options(populate_existing=True)
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no job {job_id}.")
    return PlacedJob(*row)


async def cancel_job(session: AsyncSession, user_id: UUID, job_id: UUID) -> PlacedJob:
    """Cancel a queued job at once, or ask the worker of a running one to stop; twice is as good as once.

    Raises:
        NotFoundError: the user has no such job.
        ConflictError: it has ended otherwise.
    """
    await get_job(session, user_id, job_id)
    await request_cancel(session, Job.id == job_id)
    row = await get_job(session, user_id, job_id)
    if row[0].status in (JobStatus.SUCCEEDED, JobStatus.FAILED):
        raise ConflictError(f"The job has {row[0].status.value} already.")
    return row


async def request_cancel(session: AsyncSession, *which: ColumnElement[bool]) -> None:
    """Cancel these jobs: queued ones end here, running ones by their worker, which hears of it at its heartbeat."""
    await session.execute(canceled(*which))
