"""One row or key that nobody can deal with stops no other, and nothing that fails ends a thread."""

from uuid import UUID

import pytest
from sqlalchemy import func, text, update

from app.db.deletion_tables import Deletion
from app.db.session import transaction
from app.db.tables import Generation, ObjectStatus, StoredObject
from app.domain.deletions import DeletedKind
from app.storage import ObjectStore, describe_object
from sweeper.aside import Aside
from tests.integration.worker.test_leases import sweeper
from tests.integration.worker.world import KINDS, World
from tests.refusing_s3 import refusing_s3


def _deleted_generations(world: World, count: int) -> list[UUID]:
    """Generations under a tombstone, each with its report, in the order in which the sweeper takes them."""
    lineage_id = world.lineage()
    for _ in range(count):
        world.generate(lineage_id, 0)
    with transaction(world.engine) as session:
        session.execute(update(Generation).values(deleted_at=func.clock_timestamp()))
        ids = [row.id for row in session.query(Generation).order_by(Generation.id)]
        session.add_all(Deletion(id=id_, user_id=world.user_id, kind=DeletedKind.GENERATION) for id_ in ids)
    return ids


def _left(world: World) -> list[UUID]:
    with transaction(world.engine) as session:
        return [row.id for row in session.query(Generation).order_by(Generation.id)]


def _store(world: World, report: UUID, removed: str) -> None:
    """Write a report as no release of this code would."""
    with world.engine.begin() as connection:
        connection.execute(
            text("UPDATE deletions SET removed = CAST(:removed AS jsonb) WHERE id = :id"),
            {"removed": removed, "id": report},
        )


def test_a_report_with_a_field_of_a_later_release_is_gone_on_with(world: World) -> None:
    (only,) = _deleted_generations(world, 1)
    _store(world, only, '{"rows": {}, "objects": {}, "added_later": {"a": 1}}')
    sweeper(world).collect()
    assert _left(world) == []
    with transaction(world.engine) as session:
        assert session.get_one(Deletion, only).removed.rows == {"generations": 1}


def test_a_tombstone_that_cannot_be_purged_is_set_aside(world: World, caplog: pytest.LogCaptureFixture) -> None:
    first, *others = _deleted_generations(world, 3)
    _store(world, first, '{"rows": "unreadable"}')
    swept = sweeper(world)
    now = 0.0
    swept.aside = Aside(clock=lambda: now)
    swept.collect()
    assert _left(world) == [first]
    assert f"generations {first} cannot be purged" in caplog.text
    # Not tried at once again, but later.
    caplog.clear()
    swept.collect()
    assert caplog.text == ""
    _store(world, first, "{}")
    now = 31.0
    swept.collect()
    assert (_left(world), len(others)) == ([], 2)


def test_a_key_that_s3_keeps_holds_up_no_other(world: World) -> None:
    rows = [describe_object(world.user_id, "pictures", bytes([n]), "image/png") for n in range(3)]
    for row, data in zip(rows, (bytes([n]) for n in range(3)), strict=True):
        world.store.put(row, data)
        row.status = ObjectStatus.DEAD
    with transaction(world.engine) as session:
        session.add_all(rows)
    with refusing_s3(world.settings) as s3:
        s3.kept_key = rows[0].key
        swept = sweeper(world)
        swept.store = ObjectStore(s3.settings())
        swept.collect()
        with transaction(world.engine) as session:
            assert [row.key for row in session.query(StoredObject)] == [rows[0].key]
        assert world.keys() == {rows[0].key}
        s3.kept_key = None
        swept.collect()
    assert world.keys() == set()
    assert world.objects(ObjectStatus.DEAD) == 0


def test_a_step_that_fails_ends_neither_the_round_nor_the_thread(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    _deleted_generations(world, 1)
    swept = sweeper(world)

    def fail() -> None:
        raise ValueError("something that nobody thought of")

    swept.attempt(fail)
    assert "something that nobody thought of" in caplog.text
    swept.collect()
    assert _left(world) == []


def test_what_s3_refuses_for_good_fails_the_job_and_is_not_tried_for_ever(world: World) -> None:
    job_id = world.train(world.lineage(), "dog")
    with refusing_s3(world.settings) as s3:
        s3.refused_kind = "adapters"
        world.store = ObjectStore(s3.settings())
        runner = world.runner(checkpoint_interval_seconds=0, retry_backoff_seconds=0, max_failures=2)
        for _ in range(2):
            assert runner.run_one(KINDS)
    job = world.job(job_id)
    assert (job.status.value, job.failures) == ("failed", 2)
    assert job.error is not None
    assert job.error.type == "object-refused"
    assert "EntityTooLarge" not in job.error.detail  # the operator's log has it, with the key
