"""The sweeper: what must happen although nobody asks for it. Run as `python -m worker.sweeper`.

Any number of sweepers may run; each step is one short transaction that skips what another holds.
"""

import logging
import signal
import threading
import time

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.db import leases
from app.db.session import make_engine, transaction
from app.domain.errors import NotReadyError, StorageError
from app.domain.jobs import JobFault
from app.logs import configure_logging
from app.queue import WakeUps
from app.settings import Settings, get_settings
from app.stack.addresses import resolve
from app.storage import ObjectStore
from worker import collection

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
        self._listed_at: float | None = None

    def sweep(self) -> None:
        """One round."""
        self.requeue_expired()
        self.wake()
        self.collect()

    def requeue_expired(self) -> int:
        """End the runs whose lease has expired; how many."""
        with transaction(self._engine) as session:
            jobs = leases.release_expired(session, self._settings.max_failures, _EXPIRED)
        for job in jobs:
            log.warning("job %s: the lease of attempt %d has expired; it is %s", job.id, job.attempt, job.status.value)
        return len(jobs)

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
            collection.purge_tombstones(session)
            collection.drop_finished_checkpoints(session)
            collection.drop_old_idempotency_keys(session)
        collection.collect(self._engine, self._store, self._settings.stray_object_age_seconds)
        now = time.monotonic()
        if self._listed_at is None or now - self._listed_at >= self._settings.list_bucket_interval_seconds:
            self._listed_at = now
            if strays := collection.remove_strays(self._engine, self._store):
                log.warning("removed %d stray objects", strays)

    def run(self, stop: threading.Event) -> None:
        """Sweep until told to stop; a service that is away is tried again at the next round."""
        while not stop.wait(self._settings.sweep_interval_seconds):
            try:
                self.sweep()
            except (SQLAlchemyError, StorageError) as error:
                log.warning("this sweep was cut short: %s", error)


def main() -> None:
    """Sweep until SIGTERM or SIGINT."""
    configure_logging()
    settings = resolve(get_settings())
    if settings.database_url is None or settings.broker_url is None:
        raise NotReadyError("Set DATABASE_URL and BROKER_URL, or start `palimpsest up` on the same home.")
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    engine = make_engine(settings.database_url)
    Sweeper(settings, engine, ObjectStore(settings), WakeUps(settings.broker_url)).run(stop)


if __name__ == "__main__":
    main()
