"""Leases, fencing and what the sweeper makes of lost workers."""

import threading
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text, update

from app.db import leases
from app.db.leases import Claim, LeaseLostError, Progress
from app.db.locks import lock_lineage
from app.db.session import transaction
from app.db.tables import Job, Version
from app.domain.jobs import JobFault, JobKind, JobStatus, Phase
from app.queue import WakeUps
from sweeper.sweeper import Sweeper
from tests.integration.worker.world import KINDS, TRAINING, World
from worker.attempt import lease as lease_module
from worker.attempt.lease import CanceledError, Lease
from worker.jobs import teaching
from worker.training.loop import train
from worker.training.training_task import Trained

LEASE_SECONDS = 30.0
PROGRESS = Progress(3, 6, 0.1, 0.5)


def claim(world: World) -> Claim:
    with transaction(world.engine) as session:
        claimed = leases.claim(session, KINDS, "somebody", LEASE_SECONDS)
    assert claimed is not None
    return claimed


def expire(world: World, job_id: UUID) -> None:
    with transaction(world.engine) as session:
        session.get_one(Job, job_id).lease_expires_at = func.clock_timestamp() - timedelta(seconds=1)


def sweeper(world: World) -> Sweeper:
    assert world.settings.broker_url is not None
    return Sweeper(world.settings, world.engine, world.store, WakeUps(world.settings.broker_url))


def test_many_workers_claim_each_job_once(world: World) -> None:
    lineages = [world.lineage() for _ in range(3)]
    jobs = {world.train(lineage_id, f"c{n}{m}") for n, lineage_id in enumerate(lineages) for m in range(2)}
    claimed: list[UUID] = []
    lock = threading.Lock()

    def work() -> None:
        while True:
            with transaction(world.engine) as session:
                mine = leases.claim(session, KINDS, "w", LEASE_SECONDS)
            if mine is None:
                return
            with lock:
                claimed.append(mine.job_id)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Each lineage's second job waits for its first, which nobody finishes here.
    assert len(claimed) == len(set(claimed)) == 3
    assert set(claimed) < jobs


def test_the_index_refuses_a_second_running_publishing_job_of_a_lineage(world: World) -> None:
    lineage_id = world.lineage()
    for name in ("dog", "vase"):
        world.train(lineage_id, name)
    claim(world)
    with pytest.raises(Exception, match="jobs_one_publishing_per_lineage"), transaction(world.engine) as session:
        session.execute(text("UPDATE jobs SET status = 'running'"))


@pytest.mark.parametrize("end", ["expired", "claimed again", "canceled by the sweeper"])
def test_a_stale_attempt_can_write_nothing(world: World, end: str) -> None:
    job_id = world.train(world.lineage(), "dog")
    stale = claim(world)
    expire(world, job_id)
    if end != "expired":
        sweeper(world).requeue_expired()
    if end == "claimed again":
        claim(world)
    before = _row(world, job_id)

    for write in (
        lambda s: leases.renew(s, stale, LEASE_SECONDS, Phase.TRAINING, PROGRESS),
        lambda s: leases.write(s, stale, checkpoint_step=3),
        lambda s: leases.lock(s, stale),
        lambda s: leases.finish(s, stale, JobStatus.SUCCEEDED),
        lambda s: leases.hand_back(s, stale),
        lambda s: leases.put_off(s, stale, JobFault(type="x", title="x", detail="x"), 1),
    ):
        with pytest.raises(LeaseLostError), transaction(world.engine) as session:
            write(session)
    assert _row(world, job_id) == before


def _row(world: World, job_id: UUID) -> dict[str, object]:
    job = world.job(job_id)
    return {column.key: getattr(job, column.key) for column in Job.__table__.columns}


def test_a_worker_that_wakes_past_its_lease_leaves_no_version_and_no_object(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.train(world.lineage(), "dog")
    keys = world.keys()

    def freeze(*arguments: Any) -> Trained:
        trained = train(*arguments)
        expire(world, job_id)
        sweeper(world).requeue_expired()
        return trained

    monkeypatch.setattr(teaching, "train", freeze)
    world.runner().run_one(KINDS)
    assert world.job(job_id).status is JobStatus.QUEUED
    assert world.keys() == keys
    with transaction(world.engine) as session:
        assert session.query(Version).filter(Version.number > 0).count() == 0


def test_a_worker_that_was_frozen_before_it_read_its_job_does_not_take_another_s_success_for_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = world.train(world.lineage(), "dog")
    stale = claim(world)
    expire(world, job_id)
    assert sweeper(world).requeue_expired() == 1
    world.runner().run_until_idle(KINDS)
    assert world.job(job_id).status is JobStatus.SUCCEEDED

    monkeypatch.setattr(leases, "claim", lambda *_: stale)
    caplog.clear()
    with caplog.at_level("INFO", "worker.runner"):
        world.runner().run_one(KINDS)
    assert "the lease was lost; nothing is written" in caplog.text
    assert "succeeded" not in caplog.text


def test_an_expired_job_is_taken_over_and_the_poison_limit_holds(world: World) -> None:
    job_id = world.train(world.lineage(), "dog")
    for attempt in range(1, world.settings.max_failures + 1):
        assert claim(world).attempt == attempt
        expire(world, job_id)
        assert sweeper(world).requeue_expired() == 1
    job = world.job(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.type == "worker-lost"
    assert job.finished_at is not None


def test_a_canceled_job_of_a_lost_worker_is_canceled(world: World) -> None:
    job_id = world.train(world.lineage(), "dog")
    claim(world)
    with transaction(world.engine) as session:
        session.get_one(Job, job_id).cancel_requested_at = func.clock_timestamp()
    expire(world, job_id)
    sweeper(world).requeue_expired()
    assert world.job(job_id).status is JobStatus.CANCELED


def test_a_heartbeat_renews_and_brings_back_a_cancel_request(world: World) -> None:
    job_id = world.train(world.lineage(), "dog")
    settings = world.settings.model_copy(update={"heartbeat_seconds": 0.02})
    canceled = threading.Event()
    with Lease(world.engine, claim(world), settings, claimed_at=time.monotonic()) as lease:
        lease.enter(Phase.TRAINING)
        lease.tick(PROGRESS)
        with transaction(world.engine) as session:
            session.get_one(Job, job_id).cancel_requested_at = func.clock_timestamp()
        with pytest.raises(CanceledError):
            _tick_until(lease, canceled)
    job = world.job(job_id)
    assert (job.phase, job.step, job.total_steps, job.loss) == (Phase.TRAINING, 3, 6, 0.5)


def _tick_until(lease: Lease, stop: threading.Event) -> None:
    while not stop.wait(0.005):
        lease.tick(PROGRESS)


def test_a_hung_job_is_not_renewed_although_its_heartbeat_thread_lives(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.train(world.lineage(), "dog")
    monkeypatch.setitem(lease_module.SILENCE_SECONDS, Phase.LOADING, 0.05)
    settings = world.settings.model_copy(update={"heartbeat_seconds": 0.1, "lease_seconds": 0.3})
    claimed_at = time.monotonic()
    with transaction(world.engine) as session:
        hung = leases.claim(session, KINDS, "hung", settings.lease_seconds)
    assert hung is not None
    left = threading.Event()
    with Lease(world.engine, hung, settings, claimed_at, on_hang=left.set) as lease:
        assert left.wait(60), "the worker does not leave a job that hangs"
        with pytest.raises(LeaseLostError):
            lease.check()
        swept = sweeper(world)
        while not swept.requeue_expired():
            pass
    assert world.job(job_id).status is JobStatus.QUEUED


def test_a_job_of_another_release_stops_neither_the_worker_nor_the_sweeper(world: World) -> None:
    unreadable, readable = world.train(world.lineage(), "dog"), world.train(world.lineage(), "vase")
    with transaction(world.engine) as session:
        new = """UPDATE jobs SET params = jsonb_set(params, '{strategy}', '{"name": "of-tomorrow"}') WHERE id = :id"""
        session.execute(text(new), {"id": unreadable})
    world.runner().run_until_idle(KINDS)
    assert world.job(readable).status is JobStatus.SUCCEEDED
    with transaction(world.engine) as session:
        row = session.execute(select(Job.status, Job.failures, Job.error).where(Job.id == unreadable)).one()
        assert row[2] is not None
        assert (row[0], row[1], row[2].type) == (JobStatus.QUEUED, 1, "unreadable-job")
        session.execute(update(Job).values(status=JobStatus.RUNNING, lease_expires_at=func.clock_timestamp()))
    assert sweeper(world).requeue_expired() == 2


def test_what_an_attempt_has_reached_stays_in_the_row_until_the_next_one_goes_on(world: World) -> None:
    job_id = world.train(world.lineage(), "dog")
    with transaction(world.engine) as session:
        session.get_one(Job, job_id).step = 4
    settings = world.settings.model_copy(update={"heartbeat_seconds": 0.02})
    expires_at = None
    with Lease(world.engine, claim(world), settings, claimed_at=time.monotonic()):
        expires_at = world.job(job_id).lease_expires_at
        while world.job(job_id).lease_expires_at == expires_at:
            pass
    assert (world.job(job_id).step, world.job(job_id).total_steps) == (4, TRAINING.steps)


def test_the_sweeper_wakes_for_what_a_worker_could_take(world: World) -> None:
    lineage_id = world.lineage()
    for name in ("dog", "vase"):
        world.train(lineage_id, name)
    with transaction(world.engine) as session:
        assert leases.kinds_to_wake(session, 60, 32) == {}
        assert leases.kinds_to_wake(session, 0, 32) == {JobKind.TRAIN: 1}
        assert leases.kinds_to_wake(session, 60, 32) == {}


def test_a_worker_frozen_within_a_transaction_does_not_hold_the_job(world: World) -> None:
    with world.engine.connect() as connection:
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "30s"


def test_naming_a_lineage_does_not_wait_for_its_publication(world: World) -> None:
    lineage_id = world.lineage()
    with transaction(world.engine) as session:
        lock_lineage(session, lineage_id)
        world.generate(lineage_id, 0)
