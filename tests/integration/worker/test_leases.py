"""Leases, fencing and what the sweeper makes of lost workers."""

import math
import threading
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import OperationalError
from torch.nn import functional as F

from app.db import leases
from app.db.leases import Claim, LeaseLostError, Progress
from app.db.session import transaction
from app.db.tables import Job, Lineage, ObjectStatus, StoredObject, Version
from app.domain.errors import NotFiniteError, ObjectLostError, StorageError
from app.domain.jobs import JobFault, JobKind, JobStatus, Phase
from app.queue import WakeUps
from tests.integration.worker.world import KINDS, TRAINING, World
from worker import lease as lease_module
from worker import train_job
from worker.context import HandBackError
from worker.lease import CanceledError, Lease
from worker.sweeper import Sweeper
from worker.train_hooks import TrainHooks
from worker.training.loop import train
from worker.training.task import Trained

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


def test_the_index_refuses_a_second_running_train_job_of_a_lineage(world: World) -> None:
    lineage_id = world.lineage()
    for name in ("dog", "vase"):
        world.train(lineage_id, name)
    claim(world)
    with pytest.raises(Exception, match="jobs_one_running_train_per_lineage"), transaction(world.engine) as session:
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

    monkeypatch.setattr(train_job, "train", freeze)
    world.runner().run_one(KINDS)
    assert world.job(job_id).status is JobStatus.QUEUED
    assert world.keys() == keys
    with transaction(world.engine) as session:
        assert session.query(Version).filter(Version.number > 0).count() == 0


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


@pytest.mark.parametrize("kill_at", [1, 3, 5])
def test_an_interrupted_job_resumes_from_its_checkpoint_to_the_same_adapter(
    world: World, kill_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, disturbed = world.lineage(), world.lineage()
    world.train(undisturbed, "dog")
    world.runner().run_one(KINDS)
    job_id = world.train(disturbed, "vase")
    with transaction(world.engine) as session:
        first = session.query(Job).order_by(Job.seq).first()
        assert first is not None
        session.get_one(Job, job_id).params = first.params
    steps = _steps_of(monkeypatch, kill_at)
    world.runner(checkpoint_interval_seconds=0, retry_backoff_seconds=0).run_until_idle(KINDS)

    job = world.job(job_id)
    assert (job.status, job.attempt, job.failures) == (JobStatus.SUCCEEDED, 2, 0)
    assert (job.step, job.total_steps, job.phase) == (TRAINING.steps, TRAINING.steps, None)
    # The step that was interrupted came before its checkpoint, so it is the only one done twice.
    assert steps == [*range(1, kill_at + 1), *range(kill_at, TRAINING.steps + 1)]
    assert world.adapter(disturbed, 1) == world.adapter(undisturbed, 1)


def _steps_of(
    monkeypatch: pytest.MonkeyPatch,
    kill_at: int,
    error: Exception = StorageError("S3 is gone"),  # noqa: B008
) -> list[int]:
    """The steps that are done from now on; the first time that `kill_at` is reached, `error` strikes."""
    steps: list[int] = []
    real = TrainHooks.step

    def step(self: TrainHooks, step: int, total_steps: int, loss: float | None) -> None:
        if loss is not None:
            steps.append(step)
        real(self, step, total_steps, loss)
        if loss is not None and step == kill_at and steps.count(step) == 1:
            raise error

    monkeypatch.setattr(TrainHooks, "step", step)
    return steps


def test_a_warm_shutdown_checkpoints_and_hands_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = world.train(world.lineage(), "dog")
    real = TrainHooks.step

    def step(self: TrainHooks, step: int, total_steps: int, loss: float | None) -> None:
        real(self, step, total_steps, loss)
        if step == 2 and loss is not None:
            world.shutdown.set()

    monkeypatch.setattr(TrainHooks, "step", step)
    world.runner().run_until_idle(KINDS)
    job = world.job(job_id)
    assert (job.status, job.checkpoint_step, job.failures) == (JobStatus.QUEUED, 2, 0)
    world.shutdown.clear()
    monkeypatch.setattr(TrainHooks, "step", real)
    world.runner().run_until_idle(KINDS)
    assert world.job(job_id).status is JobStatus.SUCCEEDED


def test_a_checkpoint_of_another_parent_is_not_used(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lineage_id = world.lineage()
    job_id = world.train(lineage_id, "dog")
    steps = _steps_of(monkeypatch, kill_at=4)
    runner = world.runner(checkpoint_interval_seconds=0, retry_backoff_seconds=0)
    runner.run_one(KINDS)
    other = world.lineage()
    with transaction(world.engine) as session:
        session.get_one(Lineage, lineage_id).head_version_id = world.version(other, 0).id
    runner.run_one(KINDS)
    assert world.job(job_id).status is JobStatus.SUCCEEDED
    assert steps == [1, 2, 3, 4, *range(1, TRAINING.steps + 1)]


@pytest.mark.parametrize(
    ("error", "status", "failures"),
    [
        (ObjectLostError("Object users/x is missing."), JobStatus.QUEUED, 1),
        (OSError("No space left on device"), JobStatus.QUEUED, 1),
        (StorageError("Object storage could not read users/x from http://10.0.0.1"), JobStatus.QUEUED, 0),
        (OperationalError("SELECT 1", {}, Exception("server closed")), JobStatus.QUEUED, 0),
        (NotFiniteError("The loss is not finite at step 2 of 6."), JobStatus.FAILED, 1),
        (ZeroDivisionError("a bug"), JobStatus.FAILED, 1),
    ],
)
def test_only_what_another_try_may_mend_is_retried(
    world: World, error: Exception, status: JobStatus, failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.train(world.lineage(), "dog")
    _fail_with(monkeypatch, error)
    world.runner().run_until_idle(KINDS)
    job = world.job(job_id)
    assert (job.status, job.failures) == (status, failures)
    assert job.error is not None
    for private in ("a bug", "users/x", "10.0.0.1", "SELECT"):
        assert private not in job.error.detail
    assert (job.not_before is not None) == (status is JobStatus.QUEUED)


def _fail_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(train_job, "train", fail)


def test_an_outage_of_any_length_fails_no_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = world.train(world.lineage(), "dog")
    _fail_with(monkeypatch, StorageError("S3 is gone"))
    runner = world.runner(retry_backoff_seconds=0)
    for _ in range(2 * world.settings.max_failures):
        runner.run_one(KINDS)
    assert (world.job(job_id).status, world.job(job_id).failures) == (JobStatus.QUEUED, 0)
    monkeypatch.undo()
    runner.run_one(KINDS)
    assert world.job(job_id).status is JobStatus.SUCCEEDED


def test_a_lost_object_is_given_up_after_so_many_tries(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = world.train(world.lineage(), "dog")
    _fail_with(monkeypatch, ObjectLostError("Object users/x is missing."))
    runner = world.runner(retry_backoff_seconds=0)
    assert runner.run_until_idle(KINDS) == world.settings.max_failures
    assert world.job(job_id).status is JobStatus.FAILED


def test_a_lease_given_up_by_the_worker_is_no_failure_of_the_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's own deadline comes before Postgres's, so its fenced writes would still pass."""
    job_id = world.train(world.lineage(), "dog")
    _fail_with(monkeypatch, LeaseLostError("The lease was not renewed in time."))
    world.runner().run_one(KINDS)
    assert (world.job(job_id).status, world.job(job_id).error) == (JobStatus.RUNNING, None)


def test_failures_before_a_checkpoint_are_forgiven(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = world.train(world.lineage(), "dog")
    with transaction(world.engine) as session:
        session.get_one(Job, job_id).failures = world.settings.max_failures - 1
    _steps_of(monkeypatch, kill_at=4, error=ObjectLostError("one is missing"))
    world.runner(checkpoint_interval_seconds=0).run_one(KINDS)
    assert (world.job(job_id).status, world.job(job_id).failures) == (JobStatus.QUEUED, 1)


@pytest.mark.parametrize("error", [StorageError("S3 is gone"), ObjectLostError("one is missing"), HandBackError("bye")])
def test_a_canceled_job_goes_back_to_no_queue(world: World, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    lineage_id = world.lineage()
    job_id, next_id = world.train(lineage_id, "dog"), world.train(lineage_id, "vase")

    def cancel_then_fail(*_: object) -> None:
        with transaction(world.engine) as session:
            session.get_one(Job, job_id).cancel_requested_at = func.clock_timestamp()
        raise error

    monkeypatch.setattr(train_job, "train", cancel_then_fail)
    world.runner().run_one(KINDS)
    job = world.job(job_id)
    assert (job.status, job.error) == (JobStatus.CANCELED, None)
    assert job.finished_at is not None
    monkeypatch.undo()
    world.runner().run_one(KINDS)
    assert world.job(next_id).status is JobStatus.SUCCEEDED


def test_a_canceled_job_publishes_nothing_however_late_it_hears_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.train(world.lineage(), "dog")

    def train_then_cancel(*arguments: Any) -> Trained:
        trained = train(*arguments)
        with transaction(world.engine) as session:
            session.get_one(Job, job_id).cancel_requested_at = func.clock_timestamp()
        return trained

    monkeypatch.setattr(train_job, "train", train_then_cancel)
    world.runner().run_one(KINDS)
    assert world.job(job_id).status is JobStatus.CANCELED
    with transaction(world.engine) as session:
        assert session.query(Version).filter(Version.number > 0).count() == 0


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


@pytest.mark.parametrize("loss", ["missing", "corrupt"])
def test_a_lost_checkpoint_costs_its_steps_and_nothing_else(
    world: World, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.train(world.lineage(), "dog")
    steps = _steps_of(monkeypatch, kill_at=4)
    runner = world.runner(checkpoint_interval_seconds=0, retry_backoff_seconds=0)
    runner.run_one(KINDS)
    with transaction(world.engine) as session:
        checkpoint = session.get_one(StoredObject, world.job(job_id).checkpoint_object_id)
    if loss == "missing":
        world.store.delete([checkpoint.key])
    else:
        world.store.put(checkpoint, b"something else")
    runner.run_one(KINDS)
    assert world.job(job_id).status is JobStatus.SUCCEEDED
    assert steps == [1, 2, 3, 4, *range(1, TRAINING.steps + 1)]


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


def test_a_diverging_training_fails_and_publishes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = world.train(world.lineage(), "dog")
    real = F.mse_loss
    monkeypatch.setattr(F, "mse_loss", lambda *both: real(*both) * math.nan)
    world.runner().run_until_idle(KINDS)
    job = world.job(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert (job.error.type, job.error.detail) == ("not-finite", "The loss is not finite at step 1 of 6.")
    assert world.objects(ObjectStatus.PENDING) == 0


def test_the_sweeper_wakes_for_what_a_worker_could_take(world: World) -> None:
    lineage_id = world.lineage()
    for name in ("dog", "vase"):
        world.train(lineage_id, name)
    with transaction(world.engine) as session:
        assert leases.kinds_to_wake(session, after_seconds=60) == {}
        assert leases.kinds_to_wake(session, after_seconds=0) == {JobKind.TRAIN: 1}
        assert leases.kinds_to_wake(session, after_seconds=60) == {}


def test_a_shutdown_is_heard_before_the_first_step(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = world.train(world.lineage(), "dog")
    real = TrainHooks.phase

    def phase(self: TrainHooks, phase: Phase) -> None:
        world.shutdown.set()
        real(self, phase)

    monkeypatch.setattr(TrainHooks, "phase", phase)
    steps = _steps_of(monkeypatch, kill_at=1)
    world.runner().run_one(KINDS)
    assert (world.job(job_id).status, world.job(job_id).failures, steps) == (JobStatus.QUEUED, 0, [])


def test_a_worker_frozen_within_a_transaction_does_not_hold_the_job(world: World) -> None:
    with world.engine.connect() as connection:
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "30s"


def test_naming_a_lineage_does_not_wait_for_its_publication(world: World) -> None:
    lineage_id = world.lineage()
    with transaction(world.engine) as session:
        leases.lock_lineage(session, lineage_id)
        world.generate(lineage_id, 0)
