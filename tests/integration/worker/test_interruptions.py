"""A job is stopped where it stands: by its user, who keeps the worker, or by hanging, which costs the process."""

import multiprocessing
import os
import threading
import time

import pytest
from sqlalchemy import func, update

from app.db.session import make_engine, transaction
from app.db.tables import Job, ObjectStatus, Version
from app.domain.jobs import JobStatus, Phase
from app.settings import Settings
from app.storage import ObjectStore
from tests.integration.worker.test_leases import sweeper
from tests.integration.worker.world import KINDS, TRAINING, World
from worker import runner as runner_module
from worker.attempt import lease as lease_module
from worker.attempt.lease import Lease
from worker.jobs.training_hooks import TrainHooks
from worker.runner import Runner

PATIENCE_SECONDS = 240.0


def test_heartbeats_are_frequent_enough() -> None:
    assert Settings().heartbeat_seconds <= 3


def test_a_cancel_stops_within_two_steps_of_its_heartbeat_and_keeps_the_worker(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps are held up until the heartbeat that brings the cancellation has come back, and then counted."""
    lineage_id = world.lineage()
    long = TRAINING.model_copy(update={"steps": 500})
    job_id, next_id = world.train(lineage_id, "dog", long), world.train(lineage_id, "vase")
    heard = threading.Event()
    steps: list[bool] = []
    real = TrainHooks.step

    class Overheard(Lease):
        def _renew(self) -> bool:
            goes_on = super()._renew()
            if world.job(job_id).cancel_requested_at is not None:
                heard.set()
            return goes_on

    def step(self: TrainHooks, step: int, total_steps: int, loss: float | None) -> None:
        if loss is not None and total_steps == 500:
            steps.append(heard.is_set())
            if step == 3:
                with transaction(world.engine) as session:
                    session.execute(
                        update(Job).where(Job.id == job_id).values(cancel_requested_at=func.clock_timestamp())
                    )
            if step == 4:
                assert heard.wait(PATIENCE_SECONDS)
        real(self, step, total_steps, loss)

    monkeypatch.setattr(runner_module, "Lease", Overheard)
    monkeypatch.setattr(TrainHooks, "step", step)
    assert world.runner(heartbeat_seconds=0.05).run_until_idle(KINDS) == 2
    assert len(steps) < 500
    assert sum(steps) <= 2
    assert (world.job(job_id).status, world.job(job_id).error) == (JobStatus.CANCELED, None)
    # The same runner, in the same process, has done the next one.
    assert world.job(next_id).status is JobStatus.SUCCEEDED
    with transaction(world.engine) as session:
        assert session.query(Version).filter(Version.number > 0).count() == 1
    assert world.objects(ObjectStatus.PENDING) == 0


def _hang(settings: Settings) -> None:
    """A worker process whose first job hangs in its second step: the planted fault."""
    real = TrainHooks.step

    def step(self: TrainHooks, step: int, total_steps: int, loss: float | None) -> None:
        real(self, step, total_steps, loss)
        if step == 2 and loss is not None:
            lease_module.SILENCE_SECONDS[Phase.TRAINING] = 0.5
            threading.Event().wait()

    TrainHooks.step = step  # type: ignore[method-assign]
    assert settings.database_url is not None
    Runner(settings, make_engine(settings.database_url), ObjectStore(settings), threading.Event()).run_one(KINDS)


def test_a_hung_job_loses_its_lease_and_its_process_and_is_done_by_another(world: World) -> None:
    job_id = world.train(world.lineage(), "dog")
    settings = world.settings.model_copy(
        update={"heartbeat_seconds": 0.2, "lease_seconds": 8.0, "checkpoint_interval_seconds": 0.0}
    )
    process = multiprocessing.get_context("spawn").Process(target=_hang, args=(settings,))
    process.start()
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == os.EX_TEMPFAIL
    # Its heartbeat thread has lived until the end, and has not renewed: the lease is over, or will be in a moment.
    job = world.job(job_id)
    assert (job.status, job.attempt, job.checkpoint_step) == (JobStatus.RUNNING, 1, 1)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not sweeper(world).requeue_expired():
        assert time.monotonic() < deadline, "the lease does not expire"
    assert (world.job(job_id).status, world.job(job_id).failures) == (JobStatus.QUEUED, 1)
    world.runner().run_until_idle(KINDS)
    assert (world.job(job_id).status, world.job(job_id).attempt) == (JobStatus.SUCCEEDED, 2)
