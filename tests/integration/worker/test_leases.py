"""Leases, fencing and what the sweeper makes of lost workers."""

import math
import threading
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, text
from torch.nn import functional as F

from app.db import leases
from app.db.leases import Claim, LeaseLostError, Progress
from app.db.session import transaction
from app.db.tables import Job, Lineage, ObjectStatus, Version
from app.domain.errors import NotFiniteError, StorageError
from app.domain.jobs import JobFault, JobKind, JobStatus, Phase
from app.queue import WakeUps
from tests.integration.worker.world import KINDS, TRAINING, World
from worker import lease as lease_module
from worker import train_job
from worker.lease import CanceledError, Lease
from worker.sweeper import Sweeper
from worker.train_hooks import TrainHooks
from worker.training.loop import train
from worker.training.task import Trained

LEASE_SECONDS = 30.0
PROGRESS = Progress(Phase.TRAINING, 3, 6, 0.1, 0.5)


def claim(world: World) -> Claim:
    with transaction(world.engine) as session:
        job = leases.claim(session, KINDS, "somebody", LEASE_SECONDS)
    assert job is not None
    return Claim(job.id, job.attempt)


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
                job = leases.claim(session, KINDS, "w", LEASE_SECONDS)
            if job is None:
                return
            with lock:
                claimed.append(job.id)

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
        lambda s: leases.renew(s, stale, LEASE_SECONDS, PROGRESS),
        lambda s: leases.write(s, stale, checkpoint_step=3),
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
        job = leases.claim(session, KINDS, "hung", settings.lease_seconds)
    assert job is not None
    with Lease(world.engine, Claim(job.id, job.attempt), settings, claimed_at) as lease:
        swept = sweeper(world)
        while not swept.requeue_expired():
            pass
        with pytest.raises(LeaseLostError):
            lease.check()
    assert world.job(job_id).status is JobStatus.QUEUED


class _InterruptedError(StorageError):
    """Stands for S3 failing in the middle of a job."""


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
    # The step that was interrupted came before its checkpoint, so it is the only one done twice.
    assert steps == [*range(1, kill_at + 1), *range(kill_at, TRAINING.steps + 1)]
    assert world.adapter(disturbed, 1) == world.adapter(undisturbed, 1)


def _steps_of(monkeypatch: pytest.MonkeyPatch, kill_at: int) -> list[int]:
    """The steps that are done from now on; the first time that `kill_at` is reached, S3 fails."""
    steps: list[int] = []
    real = TrainHooks.step

    def step(self: TrainHooks, step: int, total_steps: int, loss: float | None) -> None:
        if loss is not None:
            steps.append(step)
        real(self, step, total_steps, loss)
        if loss is not None and step == kill_at and steps.count(step) == 1:
            raise _InterruptedError("S3 is gone")

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
    ("error", "status"),
    [
        (StorageError("S3 is gone"), JobStatus.QUEUED),
        (NotFiniteError("The loss is not finite at step 2 of 6."), JobStatus.FAILED),
        (ZeroDivisionError("a bug"), JobStatus.FAILED),
    ],
)
def test_only_what_another_try_may_mend_is_retried(
    world: World, error: Exception, status: JobStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.train(world.lineage(), "dog")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(train_job, "train", fail)
    world.runner().run_until_idle(KINDS)
    job = world.job(job_id)
    assert job.status is status
    assert job.error is not None
    assert "a bug" not in job.error.detail
    assert (job.not_before is not None) == (status is JobStatus.QUEUED)
    assert job.failures == 1


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


def test_the_sweeper_wakes_for_what_nobody_took(world: World) -> None:
    world.train(world.lineage(), "dog")
    with transaction(world.engine) as session:
        assert leases.kinds_to_wake(session, after_seconds=60) == {}
        assert leases.kinds_to_wake(session, after_seconds=0) == {JobKind.TRAIN: 1}
        assert leases.kinds_to_wake(session, after_seconds=60) == {}
