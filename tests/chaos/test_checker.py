"""The checker reports what it is there for: each kind of broken history, planted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Engine, func, make_url, update

from app.db import leases
from app.db.session import make_engine, transaction
from app.db.tables import Job
from app.domain.jobs import JobStatus
from app.settings import Settings
from tests.chaos import audit
from tests.chaos.audit import Change
from tests.chaos.checker import changed_statuses, lost_jobs, not_ended_once
from tests.chaos.faults import FaultKind, schedule
from tests.chaos.report import Outcome, Plan, Work
from tests.chaos.users import Accepted
from tests.integration.worker.world import KINDS, World

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RENEWAL = Change(NOW, "worker-0.1", "job", "running", "running", 1, 1, "node:1", "node:1", NOW + timedelta(seconds=9))
NAMES = {"worker-0.1": "node:1"}


def stale(change: Change) -> list[str]:
    return list(audit.stale_writes([change], NAMES))


def test_what_a_holder_writes_is_not_stale() -> None:
    claim = replace(RENEWAL, old_status="queued", old_worker=None, lease_expires_at=None, new_attempt=2)
    end = replace(RENEWAL, new_status="succeeded", new_worker=None)
    assert [*stale(RENEWAL), *stale(claim), *stale(end)] == []
    assert stale(replace(RENEWAL, who="sweeper.1", old_worker="node:2")) == []


@pytest.mark.parametrize(
    "change",
    [
        replace(RENEWAL, old_worker="node:2", old_attempt=2, new_attempt=2),
        replace(RENEWAL, lease_expires_at=NOW - timedelta(seconds=5)),
        replace(RENEWAL, old_status="succeeded", old_worker=None),
        replace(RENEWAL, old_status="queued", new_status="succeeded", old_worker=None),
        replace(RENEWAL, old_status="queued", old_worker=None, new_worker="node:2"),
    ],
    ids=["another's job", "an expired lease", "a finished job", "a queued job", "a claim for another"],
)
def test_a_write_without_the_lease_is_stale(change: Change) -> None:
    assert len(stale(change)) == 1


def test_a_job_that_is_gone_or_unfinished_or_was_made_twice_is_lost() -> None:
    accepted = {"gone": Accepted("train"), "waits": Accepted("train"), "over": Accepted("train")}
    rows = {"waits": JobStatus.QUEUED, "over": JobStatus.FAILED, "twin": JobStatus.SUCCEEDED}
    assert [line.split()[1] for line in lost_jobs(accepted, rows)] == ["gone", "waits", "twin"]


def test_a_terminal_status_that_changes_is_seen_by_the_client_or_in_the_end() -> None:
    seen = Accepted("train", ["queued", "failed", "running"])
    later = Accepted("train", ["queued", "failed"])
    fine = Accepted("train", ["queued", "running", "queued", "succeeded"])
    accepted = {"seen": seen, "later": later, "fine": fine}
    rows = {"seen": JobStatus.RUNNING, "later": JobStatus.SUCCEEDED, "fine": JobStatus.SUCCEEDED}
    assert [line.split()[1] for line in changed_statuses(accepted, rows)] == ["seen", "later"]


def test_a_job_ends_exactly_once() -> None:
    end = replace(RENEWAL, new_status="succeeded")
    rows = {"job": JobStatus.SUCCEEDED, "other": JobStatus.FAILED}
    assert [line.split()[1] for line in not_ended_once(rows, [end])] == ["other"]
    assert [line.split()[1] for line in not_ended_once({"job": JobStatus.SUCCEEDED}, [end, end])] == ["job"]


@pytest.fixture
def noted(world: World) -> World:
    audit.install(world.engine)
    return world


def test_the_triggers_note_what_a_job_went_through(noted: World) -> None:
    """A zombie's write without a fence is stale; one that ends a finished job is a change after the end."""
    job_id = noted.train(noted.lineage(), "dog")
    noted.runner().run_until_idle(KINDS)
    changes = audit.read_changes(noted.engine)
    assert [change.new_status for change in changes][0::2][:1] == ["running"]
    assert [change.ends() for change in changes].count(True) == 1
    assert list(audit.changed_after_the_end(changes)) == []
    zombie = _engine_called(noted.settings, "worker-0.1")
    with transaction(zombie) as session:
        session.execute(update(Job).where(Job.id == job_id).values(status=JobStatus.FAILED))
    changes = audit.read_changes(noted.engine)
    assert len(list(audit.changed_after_the_end(changes))) == 1
    assert len(list(audit.stale_writes(changes, NAMES))) == 1


def test_a_fence_keeps_a_zombie_from_every_change(noted: World) -> None:
    job_id = noted.train(noted.lineage(), "dog")
    zombie = _engine_called(noted.settings, "worker-0.1")
    with transaction(zombie) as session:
        claim = leases.claim(session, KINDS, "node:1", 30)
    assert claim is not None
    with transaction(noted.engine) as session:
        session.execute(update(Job).where(Job.id == job_id).values(lease_expires_at=func.clock_timestamp()))
    with pytest.raises(leases.LeaseLostError), transaction(zombie) as session:
        leases.finish(session, claim, JobStatus.FAILED)
    assert list(audit.stale_writes(audit.read_changes(noted.engine), NAMES)) == []


def test_a_version_published_twice_is_reported(noted: World) -> None:
    lineage_id = noted.lineage()
    noted.train(lineage_id, "dog")
    noted.runner().run_until_idle(KINDS)
    assert audit.published_twice(noted.engine) == []
    with noted.engine.begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO chaos_versions (lineage_id, number) VALUES ('{lineage_id}', 1)")  # noqa: S608
    assert len(audit.published_twice(noted.engine)) == 1


def test_a_schedule_is_the_seed_s_and_has_every_kind_equally_often() -> None:
    assert schedule(1, 208) == schedule(1, 208) != schedule(2, 208)
    assert {schedule(1, 208).count(kind) for kind in FaultKind} == {16}


def test_the_interval_predicts_half_of_it_for_each_interruption() -> None:
    plan = Plan(seed=1, jobs=1, faults=1, train_steps=100, checkpoint_seconds=2.0)
    assert Work(0, 0, interruptions=10, seconds_per_step=0.1).predicted(plan) == pytest.approx(10 * 10)
    # A job that is shorter than the interval has no checkpoint: half of it is lost.
    assert Work(0, 0, interruptions=10, seconds_per_step=0.01).predicted(plan) == pytest.approx(10 * 50)
    assert Work(0, 0, interruptions=10, seconds_per_step=0.0).predicted(plan) == 0.0


def test_an_outcome_with_a_violation_is_not_clean_and_shows_it() -> None:
    work = Work(done=120, needed=100, interruptions=2, seconds_per_step=0.1)
    violations = {"stale writes": [str(uuid4())]}
    outcome = Outcome(Plan(1, 1, 1, train_steps=16), 9.0, {"succeeded": 1}, {}, [3.0, 5.0], work, violations)
    assert not outcome.is_clean()
    assert "| violations: stale writes | 1 |" in outcome.table()
    assert replace(outcome, violations={"stale writes": []}).is_clean()


def _engine_called(settings: Settings, name: str) -> Engine:
    assert settings.database_url is not None
    url = make_url(settings.database_url).update_query_dict({"application_name": name})
    return make_engine(url.render_as_string(hide_password=False))
