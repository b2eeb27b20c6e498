"""The sweeper: what must happen although nobody asks for it. Run as `python -m sweeper`.

Any number of sweepers may run: what one of them holds, another skips or finds done.
"""

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from app.db import leases
from app.db.session import transaction
from app.db.usage import forget_old_times
from app.domain.errors import StorageError
from app.domain.jobs import JobFault
from app.queue import WakeUps
from app.settings import Settings
from app.storage import ObjectStore
from sweeper import collection, retention
from sweeper.aside import Aside
from sweeper.purging import Tomb, purge, tombs
from sweeper.sweep_metrics import LAST_SWEEP, LEASES_EXPIRED, STRAYS_REMOVED

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
        self.store = store
        self._wake_ups = wake_ups
        self.aside = Aside()

    def run(self) -> None:
        """Sweep until the process ends.

        A slow S3 must not hold up lost jobs, nor a long listing what is deleted: each has a thread of its own.
        """
        every = self._settings.sweep_interval_seconds
        for step, name, seconds in (
            (self.collect, "collect", every),
            (self.remove_strays, "list", max(every, self._settings.list_bucket_interval_seconds)),
        ):
            threading.Thread(target=self._repeat, args=(step, seconds), name=name, daemon=True).start()
        self._repeat(self.tend, every)

    def _repeat(self, step: Callable[[], None], seconds: float) -> None:
        """The pause comes first: an operator who chose the wrong database has time to notice."""
        while True:
            time.sleep(seconds)
            self.attempt(step)

    def attempt(self, step: Callable[[], None]) -> None:
        """Do it; no fault ends the thread, since everything else that it does would end too."""
        try:
            step()
        except (SQLAlchemyError, StorageError) as error:
            log.warning("cut short, to be tried again: %s", error)
        except Exception:
            log.exception("cut short, to be tried again")

    def tend(self) -> None:
        """Look after the queue."""
        self.requeue_expired()
        self.wake()
        LAST_SWEEP.set_to_current_time()

    def requeue_expired(self) -> int:
        """End the runs whose lease has expired; how many."""
        with transaction(self._engine) as session:
            released = leases.release_expired(session, self._settings.max_failures, _EXPIRED)
        for run in released:
            LEASES_EXPIRED.labels(run.kind.value).inc()
            log.warning("job %s: attempt %d has lost its lease; it is %s", run.job_id, run.attempt, run.status.value)
        return len(released)

    def wake(self) -> None:
        """Send again what nobody acted on."""
        with transaction(self._engine) as session:
            counts = leases.kinds_to_wake(session, self._settings.rewake_after_seconds, _MOST_WAKE_UPS)
        for kind, count in counts.items():
            for _ in range(count):
                if not self._wake_ups.send(kind):
                    break

    def collect(self) -> None:
        """Remove what is deleted. Each step has transactions of its own, and its faults hold up no other step."""
        for step in (self._expire, self._purge_all, self._drop_work, self._drop_old, self._collect_objects):
            self.attempt(step)

    def _expire(self) -> None:
        with transaction(self._engine) as session:
            retention.expire(session, self._settings)

    def _purge_all(self) -> None:
        with transaction(self._engine) as session:
            found = tombs(session)
        for tomb in found:
            if not self.aside.has(tomb):
                self._purge(tomb)

    def _purge(self, tomb: Tomb) -> None:
        try:
            with transaction(self._engine) as session:
                purge(session, tomb)
        except (OperationalError, InterfaceError):
            raise  # Postgres is away, or busy: the tombstone is not at fault.
        except Exception:
            seconds = self.aside.put(tomb)
            name = tomb.table.__tablename__
            log.exception("%s %s cannot be purged; set aside for %.0f s", name, tomb.id, seconds)
        else:
            self.aside.forget(tomb)

    def _drop_work(self) -> None:
        with transaction(self._engine) as session:
            collection.drop_finished_checkpoints(session)

    def _drop_old(self) -> None:
        with transaction(self._engine) as session:
            collection.drop_old_idempotency_keys(session)
            forget_old_times(session)

    def _collect_objects(self) -> None:
        collection.collect(self._engine, self.store, self._settings.stray_object_age_seconds)

    def remove_strays(self) -> None:
        """List the bucket for keys that no row names."""
        if strays := collection.remove_strays(self._engine, self.store, self._settings.stray_object_age_seconds):
            STRAYS_REMOVED.inc(strays)
            log.warning("removed %d stray objects", strays)
