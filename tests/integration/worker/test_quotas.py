"""A job begins only while its user has GPU seconds left, however long ago it was queued."""

from uuid import uuid4

from sqlalchemy import func

from app.db.session import transaction
from app.db.tables import Job, User
from app.db.usage import SpentTime
from app.domain.jobs import JobStatus
from app.domain.quotas import QuotaOverrides
from tests.integration.worker.world import KINDS, World


def spend(world: World, seconds: float) -> None:
    with transaction(world.engine) as session:
        spent = SpentTime(job_id=uuid4(), user_id=world.user_id, started_at=func.clock_timestamp(), seconds=seconds)
        session.add(spent)


def allow(world: World, seconds: int) -> None:
    with transaction(world.engine) as session:
        session.get_one(User, world.user_id).quotas = QuotaOverrides(gpu_seconds=seconds)


def test_what_was_queued_before_the_quota_was_used_up_fails_and_says_why(world: World) -> None:
    job_id, begun_id = world.train(world.lineage(), "dog"), world.train(world.lineage(), "vase")
    with transaction(world.engine) as session:
        session.get_one(Job, begun_id).attempt = 1
    allow(world, 4000)
    spend(world, 4000)
    assert world.runner().run_until_idle(KINDS) == 2
    job = world.job(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert (job.error.type, job.error.errors[0].field) == ("quota-reached", "gpu_seconds")
    assert "4,000 of 4,000 gpu seconds" in job.error.detail
    # What has begun goes on.
    assert world.job(begun_id).status is JobStatus.SUCCEEDED

    allow(world, 5000)
    later_id = world.train(world.lineage(), "cup")
    world.runner().run_until_idle(KINDS)
    assert world.job(later_id).status is JobStatus.SUCCEEDED
