"""The integrity check: silent about what the product makes, and it reports each violation that is planted."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import delete, func, select, update

from app.db.session import transaction
from app.db.tables import (
    ConceptImage,
    ErasedVersion,
    GenerationImage,
    Job,
    Lineage,
    ObjectStatus,
    StoredObject,
    Version,
)
from app.domain.erasure import EraseMode
from app.domain.jobs import JobKind, JobStatus
from app.domain.lineages import VersionStatus
from app.integrity.check import check
from app.integrity.violations import Rule
from app.stack.addresses import environment
from app.storage import describe_object
from tests.acceptance.up import palimpsest
from tests.integration.sweeper.test_collection import sweep
from tests.integration.worker.world import KINDS, World

AGE_SECONDS = 3600.0


def found(world: World) -> set[Rule]:
    return {violation.rule for violation in check(world.engine, world.store, AGE_SECONDS)}


@pytest.fixture
def lineage_id(world: World) -> UUID:
    """A lineage of two trained versions, a branch off the first, and pictures; nothing is wrong."""
    lineage_id = world.lineage()
    for name in ("dog", "vase"):
        world.train(lineage_id, name)
    runner = world.runner(checkpoint_interval_seconds=0)
    runner.run_until_idle(KINDS)
    world.branch(lineage_id, 1)
    world.generate(lineage_id, 2)
    runner.run_until_idle(KINDS)
    assert found(world) == set()
    return lineage_id


def change(world: World, table: type[object], condition: object, **values: object) -> None:
    with transaction(world.engine) as session:
        session.execute(update(table).where(condition).values(**values))  # type: ignore[arg-type]


def first_object(world: World, kind: str) -> StoredObject:
    with transaction(world.engine) as session:
        query = select(StoredObject).where(StoredObject.kind == kind, StoredObject.status == ObjectStatus.LIVE)
        return session.scalars(query.limit(1)).one()


def lose_an_object(world: World, _: UUID) -> None:
    world.store.delete([first_object(world, "adapters").key])


def damage_an_object(world: World, _: UUID) -> None:
    world.store.put(first_object(world, "images"), b"something else")


def misstate_a_size(world: World, _: UUID) -> None:
    change(world, StoredObject, StoredObject.id == first_object(world, "pictures").id, size_bytes=1)


def kill_a_named_object(world: World, _: UUID) -> None:
    change(world, StoredObject, StoredObject.kind == "adapters", status=ObjectStatus.DEAD)


def forget_to_bury(world: World, _: UUID) -> None:
    with transaction(world.engine) as session:
        session.execute(delete(ConceptImage))


def leave_a_stray(world: World, _: UUID) -> None:
    row = describe_object(world.user_id, "pictures", b"stray", "image/png")
    row.status = ObjectStatus.DEAD
    with transaction(world.engine) as session:
        session.add(row)
    change(world, StoredObject, StoredObject.id == row.id, created_at=func.now() - timedelta(hours=2))


def shadow_a_shared_number(world: World, lineage_id: UUID) -> None:
    """The branch begins at version 1, so it shows version 1 of the original beside its own."""
    with transaction(world.engine) as session:
        branch = session.scalars(select(Lineage).where(Lineage.forked_from_version_id.is_not(None))).one()
        zero = world.version(lineage_id, 0)
        session.add(Version(lineage_id=branch.id, number=1, status=VersionStatus.LIVE, parent_id=zero.id))


def reuse_an_erased_number(world: World, lineage_id: UUID) -> None:
    with transaction(world.engine) as session:
        session.add(ErasedVersion(lineage_id=lineage_id, number=2, token=None))


def give_a_number_out_again(world: World, lineage_id: UUID) -> None:
    change(world, Lineage, Lineage.id == lineage_id, next_number=2)


def close_a_circle(world: World, lineage_id: UUID) -> None:
    change(world, Version, Version.id == world.version(lineage_id, 1).id, parent_id=world.version(lineage_id, 2).id)


def lose_a_parent(world: World, lineage_id: UUID) -> None:
    change(world, Version, Version.id == world.version(lineage_id, 1).id, parent_id=None)


def take_the_head_away(world: World, lineage_id: UUID) -> None:
    change(world, Lineage, Lineage.id == lineage_id, head_version_id=None)


def hold_the_head(world: World, lineage_id: UUID) -> None:
    change(world, Version, Version.id == world.version(lineage_id, 2).id, status=VersionStatus.HELD)


def point_a_head_elsewhere(world: World, lineage_id: UUID) -> None:
    other = world.version(world.lineage(), 0)
    change(world, Lineage, Lineage.id == lineage_id, head_version_id=other.id)


def unfinish_a_job(world: World, _: UUID) -> None:
    change(world, Job, Job.kind == JobKind.TRAIN, finished_at=None)


def leave_a_lease(world: World, _: UUID) -> None:
    change(world, Job, Job.kind == JobKind.GENERATE, lease_expires_at=func.now())


def fail_silently(world: World, _: UUID) -> None:
    change(world, Job, Job.kind == JobKind.GENERATE, status=JobStatus.FAILED, error=None)


def lose_a_result(world: World, _: UUID) -> None:
    change(world, Job, Job.kind == JobKind.TRAIN, result=None)


def lose_a_picture(world: World, _: UUID) -> None:
    with transaction(world.engine) as session:
        session.execute(delete(GenerationImage).where(GenerationImage.position == 1))


def publish_twice(world: World, _: UUID) -> None:
    with transaction(world.engine) as session:
        first, second = session.scalars(select(Job).where(Job.kind == JobKind.TRAIN).order_by(Job.seq)).all()
        second.result = first.result


def name_a_version_that_is_not_there(world: World, _: UUID) -> None:
    with transaction(world.engine) as session:
        job = session.scalars(select(Job).where(Job.kind == JobKind.TRAIN).limit(1)).one()
        assert job.result is not None
        job.result = job.result.model_copy(update={"version": 7})


PLANTED: dict[Callable[[World, UUID], None], Rule] = {
    lose_an_object: Rule.OBJECT_AS_STORED,
    damage_an_object: Rule.OBJECT_AS_STORED,
    misstate_a_size: Rule.OBJECT_AS_STORED,
    kill_a_named_object: Rule.OBJECT_NAMED_IS_LIVE,
    forget_to_bury: Rule.OBJECT_LIVE_IS_NAMED,
    leave_a_stray: Rule.NO_ORPHAN,
    shadow_a_shared_number: Rule.NUMBERS_UNIQUE,
    reuse_an_erased_number: Rule.NUMBERS_UNIQUE,
    give_a_number_out_again: Rule.NUMBERS_UNIQUE,
    close_a_circle: Rule.PARENTS_FORM_DAG,
    lose_a_parent: Rule.PARENTS_FORM_DAG,
    take_the_head_away: Rule.HEAD_REACHABLE,
    hold_the_head: Rule.HEAD_REACHABLE,
    point_a_head_elsewhere: Rule.HEAD_REACHABLE,
    unfinish_a_job: Rule.JOB_COMPLETE,
    leave_a_lease: Rule.JOB_COMPLETE,
    fail_silently: Rule.JOB_COMPLETE,
    lose_a_result: Rule.JOB_COMPLETE,
    lose_a_picture: Rule.RESULT_EXISTS,
    name_a_version_that_is_not_there: Rule.RESULT_EXISTS,
    publish_twice: Rule.PUBLISHED_ONCE,
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_violation_is_reported(world: World, lineage_id: UUID, plant: Callable[[World, UUID], None]) -> None:
    plant(world, lineage_id)
    assert PLANTED[plant] in found(world)


def test_every_rule_has_a_violation_planted() -> None:
    assert set(PLANTED.values()) == set(Rule)


def test_a_key_without_a_row_counts_from_its_age_on(world: World) -> None:
    world.store.put(describe_object(world.user_id, "pictures", b"stray", "image/png"), b"stray")
    assert found(world) == set()
    assert {violation.rule for violation in check(world.engine, world.store, -60.0)} == {Rule.NO_ORPHAN}


def test_erasing_and_deleting_break_no_promise(world: World, lineage_id: UUID) -> None:
    concept_id = world.version(lineage_id, 1).concept_id
    assert concept_id is not None
    world.erase(lineage_id, concept_id, EraseMode.RETRAIN)
    world.runner(checkpoint_interval_seconds=0).run_until_idle(KINDS)
    assert found(world) == set()
    sweep(world)
    assert found(world) == set()
    with transaction(world.engine) as session:
        session.get_one(Lineage, lineage_id).deleted_at = func.now()
    sweep(world)
    assert found(world) == set()


def test_the_command_prints_a_line_for_each_violation(world: World, lineage_id: UUID) -> None:
    variables = environment(world.settings)
    clean = palimpsest("check", variables=variables)
    assert (clean.returncode, clean.stdout, clean.stderr) == (0, "No violations.\n", "")
    lose_an_object(world, lineage_id)
    damage_an_object(world, lineage_id)
    broken = palimpsest("check", variables=variables)
    assert broken.returncode == 1
    assert [line.split(":")[0] for line in broken.stdout.splitlines()] == [Rule.OBJECT_AS_STORED.value] * 2
