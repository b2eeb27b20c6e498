"""Claim a job, run it, and write down how it ended."""

import logging
import os
import platform
import threading
import time
from collections.abc import Collection

from pydantic import ValidationError
from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError

from app.db import leases
from app.db.leases import Claim, LeaseLostError
from app.db.session import transaction
from app.db.tables import Job
from app.domain.errors import InvalidInputError, PalimpsestError
from app.domain.jobs import JobKind, JobStatus
from app.logs import log_ids
from app.settings import Settings
from app.storage import ObjectStore
from worker import outcomes
from worker.adapters.cache import DiskCache, UpdateCache
from worker.attempt.chain import lost_adapters
from worker.attempt.job_context import JobContext
from worker.attempt.lease import Lease
from worker.attempt.loaded_bases import LoadedBases
from worker.attempt.worker_objects import WorkerObjects
from worker.jobs.handlers import HANDLERS
from worker.models.device import fix_threads
from worker.outcomes import UnreadableJobError
from worker.worker_metrics import note_begun, note_finished, note_update, timed_run

log = logging.getLogger(__name__)

# An accumulated update is as large as the adapted projections: 1 MB for icons-64, 3.8 GB in fp32 for SDXL.
_UPDATES_KEPT = 2


class Runner:
    """One worker process's hands: keeps base models loaded and works through jobs one at a time."""

    def __init__(self, settings: Settings, engine: Engine, store: ObjectStore, shutdown: threading.Event) -> None:
        self._settings = settings
        self._engine = engine
        self._store = store
        self._bases = LoadedBases(engine, settings)
        self._updates = UpdateCache(_UPDATES_KEPT, _disk_cache(settings), note_update)
        self._shutdown = shutdown
        self._name = f"{platform.node()}:{os.getpid()}"
        fix_threads(settings.torch_threads)

    def run_until_idle(self, kinds: Collection[JobKind]) -> int:
        """Run jobs of these kinds until none can be claimed, or the worker is to stop; how many were run."""
        count = 0
        while not self._shutdown.is_set() and self.run_one(kinds):
            count += 1
        return count

    def forget_erased(self) -> None:
        """Drop the accumulated updates, in memory and on disk, of which an adapter has been erased or deleted."""
        self._updates.forget(lambda parts: lost_adapters(self._engine, parts))

    def run_one(self, kinds: Collection[JobKind]) -> bool:
        """Claim and run one job; False when there was none."""
        claimed_at = time.monotonic()
        with transaction(self._engine) as session:
            claim = leases.claim(session, kinds, self._name, self._settings.lease_seconds)
        if claim is None:
            return False
        with log_ids(job_id=str(claim.job_id), attempt=str(claim.attempt)):
            self._run_claimed(claim, claimed_at)
        return True

    def _run_claimed(self, claim: Claim, claimed_at: float) -> None:
        log.info("job %s attempt %d begins", claim.job_id, claim.attempt)
        kind: JobKind | None = None
        with Lease(self._engine, claim, self._settings, claimed_at) as lease:
            try:
                job = self._load(claim)
                kind = job.kind
                self._run(lease, job)
                note_finished(kind, JobStatus.SUCCEEDED)
                log.info("job %s succeeded", claim.job_id)
            except Exception as error:
                self._end(claim, kind, error)

    def _run(self, lease: Lease, job: Job) -> None:
        note_begun(job)
        objects = WorkerObjects(self._engine, self._store, lease.claim, job.user_id)
        context = JobContext(
            job, lease, self._engine, objects, self._bases, self._updates, self._settings, self._shutdown
        )
        with timed_run(job):
            HANDLERS[job.params.kind](context, job.params)

    def _load(self, claim: Claim) -> Job:
        try:
            with transaction(self._engine) as session:
                # Fenced: a worker that was frozen just before would take what another attempt has made for its own.
                job = session.scalar(select(Job).where(claim.fence()))
        except ValidationError as error:
            raise UnreadableJobError("The job was written by another release than this worker's.") from error
        if job is None:
            raise LeaseLostError("The lease was lost before the job was read.")
        return job

    def _end(self, claim: Claim, kind: JobKind | None, error: Exception) -> None:
        """Write down why the run did not succeed, unless the job is no longer ours to write about."""
        if isinstance(error, InvalidInputError):
            # Its detail repeats what the user has sent, for the user alone.
            log.info("job %s attempt %d: %s", claim.job_id, claim.attempt, error.title())
        elif isinstance(error, PalimpsestError):
            log.info("job %s attempt %d: %s", claim.job_id, claim.attempt, error.detail)
        else:
            log.error("job %s attempt %d failed", claim.job_id, claim.attempt, exc_info=error)
        try:
            with transaction(self._engine) as session:
                status = outcomes.record(session, claim, error, self._settings)
            note_finished(kind, status, outcomes.describe(error).type)
            log.info("job %s is %s", claim.job_id, status.value)
        except LeaseLostError:
            log.warning("job %s attempt %d: the lease was lost; nothing is written", claim.job_id, claim.attempt)
        except DBAPIError as database_error:
            # The lease expires by itself, and the sweeper queues the job again.
            log.warning("job %s attempt %d: Postgres is away: %s", claim.job_id, claim.attempt, database_error)


def _disk_cache(settings: Settings) -> DiskCache | None:
    if settings.update_cache_bytes == 0:
        return None
    return DiskCache(settings.update_cache_dir or settings.home / "updates", settings.update_cache_bytes)
