"""How runs end that do not simply succeed: resumed, put off, handed back, canceled, failed."""

import math
from typing import Any

import pytest
import torch
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from torch.nn import functional as F

from app.db import leases
from app.db.leases import LeaseLostError
from app.db.session import transaction
from app.db.tables import Job, Lineage, ObjectStatus, StoredObject, Version
from app.domain.errors import InvalidInputError, NotFiniteError, ObjectLostError, StorageError
from app.domain.jobs import JobKind, JobStatus, Phase
from tests.integration.worker.world import KINDS, TRAINING, World
from worker import outcomes
from worker.attempt.job_context import HandBackError
from worker.jobs import teaching
from worker.jobs.handlers import HANDLERS
from worker.jobs.training_hooks import TrainHooks
from worker.models.sd import StableDiffusionBase
from worker.training.loop import train
from worker.training.training_task import Trained


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
    steps = steps_of(monkeypatch, kill_at)
    world.runner(checkpoint_interval_seconds=0, retry_backoff_seconds=0).run_until_idle(KINDS)

    job = world.job(job_id)
    assert (job.status, job.attempt, job.failures) == (JobStatus.SUCCEEDED, 2, 0)
    assert (job.step, job.total_steps, job.phase) == (TRAINING.steps, TRAINING.steps, None)
    # The step that was interrupted came before its checkpoint, so it is the only one done twice.
    assert steps == [*range(1, kill_at + 1), *range(kill_at, TRAINING.steps + 1)]
    assert world.adapter(disturbed, 1) == world.adapter(undisturbed, 1)


def steps_of(
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
    steps = steps_of(monkeypatch, kill_at=4)
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
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB"), JobStatus.QUEUED, 1),
        (MemoryError(), JobStatus.QUEUED, 1),
        (InvalidInputError("These options do not fit this base."), JobStatus.FAILED, 1),
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
    for private in ("a bug", "users/x", "10.0.0.1", "SELECT", "MiB"):
        assert private not in job.error.detail
    assert (job.not_before is not None) == (status is JobStatus.QUEUED)


def _fail_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(teaching, "train", fail)


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
    job = world.job(job_id)
    assert (job.status, job.attempt, job.failures) == (JobStatus.FAILED, 5, 5)
    assert job.error is not None
    assert job.error.type == "object-lost"


def test_one_image_too_many_is_given_up_with_what_to_lower(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one image fits; and the job behind it in the lineage has its turn."""
    lineage_id = world.lineage()
    job_id, next_id = world.train(lineage_id, "dog"), world.train(lineage_id, "vase")
    real = StableDiffusionBase.predict

    def predict(*arguments: Any) -> torch.Tensor:
        if world.job(job_id).status is JobStatus.RUNNING:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*arguments)

    monkeypatch.setattr(StableDiffusionBase, "predict", predict)
    assert world.runner(retry_backoff_seconds=0).run_until_idle(KINDS) == world.settings.max_failures + 1
    job = world.job(job_id)
    assert (job.status, job.failures) == (JobStatus.FAILED, world.settings.max_failures)
    assert job.error is not None
    assert job.error.type == "out-of-memory"
    assert "lower the training's resolution or rank" in job.error.detail
    assert world.job(next_id).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("error", [StorageError("S3 is gone"), ObjectLostError("one is missing")])
def test_each_wait_is_twice_the_one_before_up_to_a_limit(world: World, error: Exception) -> None:
    job_id = world.train(world.lineage(), "dog")
    settings = world.settings.model_copy(update={"max_failures": 9})
    waits = []
    for _ in range(8):
        with transaction(world.engine) as session:
            claimed = leases.claim(session, KINDS, "somebody", 30)
            assert claimed is not None
            outcomes.record(session, claimed, error, settings)
            job = session.get_one(Job, job_id, populate_existing=True)
            wait = select(func.extract("epoch", Job.not_before - func.now())).where(Job.id == job_id)
            waits.append(round(float(session.scalar(wait) or 0)))
            job.not_before = None
    assert waits == [10, 20, 40, 80, 120, 120, 120, 120]


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
    steps_of(monkeypatch, kill_at=4, error=ObjectLostError("one is missing"))
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

    monkeypatch.setattr(teaching, "train", cancel_then_fail)
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

    monkeypatch.setattr(teaching, "train", train_then_cancel)
    world.runner().run_one(KINDS)
    assert world.job(job_id).status is JobStatus.CANCELED
    with transaction(world.engine) as session:
        assert session.query(Version).filter(Version.number > 0).count() == 0


@pytest.mark.parametrize("loss", ["missing", "corrupt"])
def test_a_lost_checkpoint_costs_its_steps_and_nothing_else(
    world: World, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.train(world.lineage(), "dog")
    steps = steps_of(monkeypatch, kill_at=4)
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


def test_a_shutdown_is_heard_before_the_first_step(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = world.train(world.lineage(), "dog")
    real = TrainHooks.phase

    def phase(self: TrainHooks, phase: Phase) -> None:
        world.shutdown.set()
        real(self, phase)

    monkeypatch.setattr(TrainHooks, "phase", phase)
    steps = steps_of(monkeypatch, kill_at=1)
    world.runner().run_one(KINDS)
    assert (world.job(job_id).status, world.job(job_id).failures, steps) == (JobStatus.QUEUED, 0, [])


def test_a_kind_without_a_handler_fails_instead_of_succeeding_at_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(HANDLERS, JobKind.TRAIN)
    job_id = world.train(world.lineage(), "dog")
    world.runner().run_one(KINDS)
    job = world.job(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.type == "internal"
