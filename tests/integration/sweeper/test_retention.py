"""Retention: what is too old goes as by a DELETE; without a setting nothing does."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, update

from app.db.deletion_tables import Deletion
from app.db.session import transaction
from app.db.tables import Generation, Job, StoredObject
from app.domain.deletions import DeletionReason
from app.domain.jobs import GenerateResult, JobStatus
from app.storage import describe_object
from tests.integration.worker.test_leases import sweeper
from tests.integration.worker.world import World


def _ended_days_ago(world: World, job_id: UUID, days: float) -> UUID:
    """As if its pictures had been drawn then; the generation's id."""
    with transaction(world.engine) as session:
        ended = func.clock_timestamp() - timedelta(days=days)
        session.execute(update(Job).where(Job.id == job_id).values(status=JobStatus.SUCCEEDED, finished_at=ended))
        result = session.get_one(Job, job_id).result
    assert isinstance(result, GenerateResult)
    return result.generation_id


def _generations(world: World) -> set[UUID]:
    with transaction(world.engine) as session:
        return {row.id for row in session.query(Generation).all()}


def test_pictures_go_when_they_are_too_old(world: World) -> None:
    lineage_id = world.lineage()
    old, young = (_ended_days_ago(world, world.generate(lineage_id, 0), days) for days in (8, 6))
    waiting = world.job(world.generate(lineage_id, 0)).result
    assert isinstance(waiting, GenerateResult)
    sweeper(world).collect()
    assert _generations(world) == {old, young, waiting.generation_id}
    world.settings = world.settings.model_copy(update={"generation_retention_days": 7})
    sweeper(world).collect()
    assert _generations(world) == {young, waiting.generation_id}
    with transaction(world.engine) as session:
        told = session.get_one(Deletion, old)
        assert (told.reason, told.user_id) == (DeletionReason.RETENTION, world.user_id)
        assert told.removed.rows == {"generations": 1}
        assert told.completed_at is not None
        assert session.query(Deletion).count() == 1


def _checkpointed(world: World, lineage_id: UUID, name: str, status: JobStatus, days: float) -> UUID:
    job_id = world.train(lineage_id, name)
    row = describe_object(world.user_id, "checkpoints", b"state", "application/octet-stream")
    world.store.put(row, b"state")
    with transaction(world.engine) as session:
        session.add(row)
        session.flush()
        born = func.clock_timestamp() - timedelta(days=days)
        session.execute(update(StoredObject).where(StoredObject.id == row.id).values(status="live", created_at=born))
        until = func.clock_timestamp() + timedelta(hours=1)
        session.execute(
            update(Job)
            .where(Job.id == job_id)
            .values(status=status, lease_expires_at=until, checkpoint_object_id=row.id, checkpoint_step=3)
        )
    return job_id


def test_checkpoints_of_what_waits_go_when_they_are_too_old(world: World) -> None:
    jobs = {
        "old": _checkpointed(world, world.lineage(), "a", JobStatus.QUEUED, 3),
        "young": _checkpointed(world, world.lineage(), "b", JobStatus.QUEUED, 1),
        "running": _checkpointed(world, world.lineage(), "c", JobStatus.RUNNING, 3),
    }
    sweeper(world).collect()
    assert all(world.job(job_id).checkpoint_step == 3 for job_id in jobs.values())
    world.settings = world.settings.model_copy(update={"checkpoint_retention_days": 2})
    sweeper(world).collect()
    kept = {name for name, job_id in jobs.items() if world.job(job_id).checkpoint_object_id is not None}
    assert kept == {"young", "running"}
    assert world.job(jobs["old"]).status is JobStatus.QUEUED
    assert len([listed for listed in world.store.list() if "checkpoints" in listed.key]) == 2
