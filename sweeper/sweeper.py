"""The sweeper: what must happen although nobody asks for it. Run as `python -m sweeper`.

Any number of sweepers may run: what one of them holds, another skips or finds done.
"""

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.db import leases
from app.db.session import transaction
from app.db.usage import forget_old_times
from app.domain.errors import StorageError
from app.domain.jobs import JobFault
from app.queue import WakeUps
from app.settings import Settings
from app.storage import ObjectStore
from sweeper import collection, retention
from sweeper.purging import purge_tombstones

log = logging.getLogger(__name__)

_MOST_WAKE_UPS = 32  # per kind and sweep: enough for every idle worker; each works on until nothing is left

_EXPIRED = JobFault(
    type="worker-lost",
    title="The worker was lost",
    detail="The workers that tried this job stopped answering too many times.",
)


class Sweeper:
    """One process's sweeping."""

    def __init__(self, settings: Settings, engine: Engine, store: ObjectStore, wake_ups: WakeUps) -> None:
        self._settings = settings
        self._engine = engine
        self._store = store
        self._wake_ups = wake_ups
        # Not at the first round: an operator who chose the wrong database has time to notice.
        self._listed_at = time.monotonic()

    def run(self) -> None:
        """Sweep until the process ends. Collection has a thread of its own: a slow S3 must not hold up lost jobs."""
        threading.Thread(target=self._repeat, args=(self.collect,), name="collect", daemon=True).start()
        self._repeat(self.tend)

    def _repeat(self, step: Callable[[], None]) -> None:
        while True:
            time.sleep(self._settings.sweep_interval_seconds)
            try:
                step()
            except (SQLAlchemyError, StorageError) as error:
                log.warning("cut short, to be tried again: %s", error)

    def tend(self) -> None:
        """Look after the queue."""
        self.requeue_expired()
        self.wake()

    def requeue_expired(self) -> int:
        """End the runs whose lease has expired; how many."""
        with transaction(self._engine) as session:
            released = leases.release_expired(session, self._settings.max_failures, _EXPIRED)
        for run in released:
            log.warning("job %s: attempt %d has lost its lease; it is %s", run.job_id, run.attempt, run.status.value)
        return len(released)

    def wake(self) -> None:
        """Send again what nobody acted on."""
        with transaction(self._engine) as session:
            counts = leases.kinds_to_wake(session, self._settings.rewake_after_seconds)
        for kind, count in counts.items():
            for _ in range(min(count, _MOST_WAKE_UPS)):
                if not self._wake_ups.send(kind):
                    break

    def collect(self) -> None:
        """Remove what is deleted; the bucket is listed for strays only now and then."""
        with transaction(self._engine) as session:
            retention.expire(session, self._settings)
        with transaction(self._engine) as session:
            purge_tombstones(session)
        with transaction(self._engine) as session:
            collection.drop_finished_checkpoints(session)
            collection.drop_old_idempotency_keys(session)
            forget_old_times(session)
        collection.collect(self._engine, self._store, self._settings.stray_object_age_seconds)
        if time.monotonic() - self._listed_at >= self._settings.list_bucket_interval_seconds:
            self._listed_at = time.monotonic()
            self.remove_strays()

    def remove_strays(self) -> None:
        """List the bucket for keys that no row names."""
        if strays := collection.remove_strays(self._engine, self._store, self._settings.stray_object_age_seconds):
            log.warning("removed %d stray objects", strays)
