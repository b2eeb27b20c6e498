"""What is deleted goes for good, and nothing else does."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, update

from app.db.session import transaction
from app.db.tables import (
    Concept,
    ConceptImage,
    Generation,
    GenerationImage,
    Job,
    Lineage,
    ObjectStatus,
    StoredObject,
    User,
    Version,
)
from app.db.usage import SpentTime, gpu_seconds
from app.domain.jobs import JobStatus
from app.domain.strategies import StrategyOptions
from app.storage import describe_object
from tests.integration.worker.test_leases import claim, expire, sweeper
from tests.integration.worker.world import KINDS, QUICK, World


def sweep(world: World) -> None:
    """A round of everything, the bucket's listing included."""
    swept = sweeper(world)
    swept.tend()
    swept.collect()
    swept.remove_strays()


def delete_all(world: World, table: type[Concept | Generation | Lineage | User]) -> None:
    with transaction(world.engine) as session:
        session.execute(update(table).values(deleted_at=func.clock_timestamp()))


def _count(world: World, *tables: type[object]) -> list[int]:
    with transaction(world.engine) as session:
        return [session.query(table).count() for table in tables]


def _trained(world: World, strategy: StrategyOptions | None = None) -> None:
    lineage_id = world.lineage(strategy)
    world.train(lineage_id, "dog")
    runner = world.runner(checkpoint_interval_seconds=0)
    runner.run_until_idle(KINDS)
    world.generate(lineage_id, 1)
    runner.run_until_idle(KINDS)


def test_sweeping_removes_the_checkpoints_of_what_has_ended_and_keeps_the_rest(world: World) -> None:
    _trained(world)
    assert world.objects(ObjectStatus.DEAD) > 0
    sweep(world)
    # 2 images, 1 adapter, 2 pictures.
    assert (world.objects(ObjectStatus.LIVE), world.objects(ObjectStatus.DEAD), len(world.keys())) == (5, 0, 5)


@pytest.mark.parametrize("strategy", ["merge", "ewc"])
def test_a_deleted_lineage_leaves_its_concepts(world: World, strategy: str) -> None:
    """And nothing of what `ewc` kept beside the adapter."""
    _trained(world, QUICK.get(strategy))
    delete_all(world, Lineage)
    sweep(world)
    assert _count(world, Lineage, Version, Job, Generation, GenerationImage, Concept) == [0, 0, 0, 0, 0, 1]
    assert len(world.keys()) == 2


def test_a_branch_inherits_what_it_shares_with_a_deleted_lineage(world: World) -> None:
    original = world.lineage()
    for name in ("dog", "vase"):
        world.train(original, name)
    runner = world.runner()
    runner.run_until_idle(KINDS)
    branch, sibling = world.branch(original, 1), world.branch(original, 1)
    world.generate(original, 2)
    drawn = world.generate(branch, 1)
    runner.run_until_idle(KINDS)
    _delete_lineage(world, original)
    sweep(world)
    # Of the original, only version 2 and its pictures are gone: versions 0 and 1 are the oldest branch's now.
    assert _count(world, Lineage, Version, Generation) == [2, 2, 1]
    assert {world.version(sibling, number).lineage_id for number in (0, 1)} == {branch}
    again = world.generate(sibling, 1)
    world.train(sibling, "cat")
    runner.run_until_idle(KINDS)
    assert world.pictures(again)[0].tobytes() == world.pictures(drawn)[0].tobytes()
    assert world.version(sibling, 2).parent_id == world.version(branch, 1).id

    _delete_lineage(world, branch)
    sweep(world)
    assert {world.version(sibling, number).lineage_id for number in range(3)} == {sibling}
    _delete_lineage(world, sibling)
    sweep(world)
    assert _count(world, Lineage, Version, Job, Generation) == [0] * 4
    # What is left are the three concepts' images.
    assert len(world.keys()) == 6


def _delete_lineage(world: World, lineage_id: UUID) -> None:
    with transaction(world.engine) as session:
        session.get_one(Lineage, lineage_id).deleted_at = datetime.now(UTC)


def test_a_deleted_concept_leaves_the_versions_that_learned_it(world: World) -> None:
    _trained(world)
    delete_all(world, Concept)
    sweep(world)
    assert _count(world, Concept, ConceptImage, Version) == [1, 0, 2]
    assert len(world.keys()) == 3
    # Its row, which an erasure may yet name, goes with the last of them.
    delete_all(world, Lineage)
    sweep(world)
    sweep(world)
    assert _count(world, Concept, Version) == [0, 0]


def test_a_deleted_generation_takes_its_pictures_along(world: World) -> None:
    _trained(world)
    delete_all(world, Generation)
    sweep(world)
    assert _count(world, Generation, GenerationImage, Version) == [0, 0, 2]
    assert len(world.keys()) == 3


def test_a_deleted_user_leaves_nothing(world: World) -> None:
    _trained(world)
    delete_all(world, User)
    sweep(world)
    assert _count(world, User, Concept, Lineage, Version, Job, Generation, StoredObject) == [0] * 7
    assert world.keys() == set()


def test_nothing_is_purged_under_a_running_job(world: World) -> None:
    lineage_id = world.lineage()
    job_id = world.train(lineage_id, "dog")
    claim(world)
    for table in (Concept, Lineage, User):
        delete_all(world, table)
    sweep(world)
    assert _count(world, Concept, Lineage, User) == [1, 1, 1]
    with transaction(world.engine) as session:
        session.get_one(Job, job_id).cancel_requested_at = func.clock_timestamp()
    expire(world, job_id)
    sweep(world)
    assert _count(world, Concept, Lineage, User, Job, StoredObject) == [0] * 5


def test_objects_that_nobody_published_and_keys_without_rows_are_removed_once_they_are_old(world: World) -> None:
    stray, pending = (describe_object(world.user_id, "adapters", b"x", "text/plain") for _ in range(2))
    world.store.put(stray, b"x")
    with transaction(world.engine) as session:
        session.add(pending)
    world.store.put(pending, b"x")

    sweep(world)
    assert world.keys() == {stray.key, pending.key}
    world.settings = world.settings.model_copy(update={"stray_object_age_seconds": 0})
    sweep(world)
    assert world.keys() == set()


def test_a_checkpoint_of_a_job_that_ends_meanwhile_is_not_forgotten(world: World) -> None:
    """Its object must be dead whenever no row names it any more."""
    lineage_id = world.lineage()
    job_id = world.train(lineage_id, "dog")
    world.runner(checkpoint_interval_seconds=0).run_until_idle(KINDS)
    with transaction(world.engine) as holder:
        holder.get_one(Job, job_id, with_for_update=True)
        sweep(world)
    assert world.job(job_id).checkpoint_object_id is not None
    sweep(world)
    assert world.job(job_id).checkpoint_object_id is None
    assert (world.objects(ObjectStatus.LIVE), len(world.keys())) == (3, 3)


def test_a_queued_job_of_a_deleted_concept_is_canceled(world: World) -> None:
    job_id = world.train(world.lineage(), "dog")
    delete_all(world, Concept)
    world.runner().run_until_idle(KINDS)
    assert world.job(job_id).status is JobStatus.CANCELED


def test_deleting_a_lineage_gives_no_time_back(world: World) -> None:
    lineage_id = world.lineage()
    for name in ("dog", "vase", "cup"):
        world.train(lineage_id, name)
    with transaction(world.engine) as session:
        # Of the last 30 days 40 seconds count; an hour of the month before does not, and what has not begun is nothing.
        jobs = session.query(Job).order_by(Job.seq).all()
        jobs[0].started_at = datetime.now(UTC) - timedelta(days=2)
        jobs[0].finished_at = jobs[0].started_at + timedelta(seconds=40)
        jobs[1].started_at = datetime.now(UTC) - timedelta(days=31)
        jobs[1].finished_at = jobs[1].started_at + timedelta(hours=1)
    assert _gpu_seconds(world) == 40
    delete_all(world, Lineage)
    sweep(world)
    assert _count(world, Lineage, Job) == [0, 0]
    assert _gpu_seconds(world) == 40
    with transaction(world.engine) as session:
        session.execute(update(SpentTime).values(started_at=datetime.now(UTC) - timedelta(days=31)))
    assert _gpu_seconds(world) == 0
    sweep(world)
    assert _count(world, SpentTime) == [0]


def _gpu_seconds(world: World) -> float:
    with transaction(world.engine) as session:
        return float(session.scalar(gpu_seconds(world.user_id)) or 0)
