"""Queuing a job: the one way, so that no kind of job escapes the quotas."""

import logging

from app.db.tables import Job
from app.domain.quotas import Quota
from app.services.context import Work
from app.services.jobs import PlacedJob, get_job
from app.services.quotas import insist_on_room

log = logging.getLogger(__name__)

ONE_JOB = {Quota.UNFINISHED_JOBS: 1, Quota.GPU_SECONDS: 1}
"""What a job takes of its user's quotas."""


async def submit_job(work: Work, job: Job) -> PlacedJob:
    """Queue the job, and wake a worker after the commit.

    Raises:
        QuotaReachedError: its user has too many jobs already, or has used up the GPU seconds.
    """
    await insist_on_room(work, job.user_id, ONE_JOB)
    work.session.add(job)
    await work.session.flush()
    log.info("queued", extra={"event": {"job_id": job.id, "kind": job.kind}})
    work.wake(job.kind)
    return await get_job(work.session, job.user_id, job.id)
