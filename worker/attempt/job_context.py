"""What every job is given: its row, its lease, and the means to read and write."""

import threading
from dataclasses import dataclass, field

from sqlalchemy import Engine

from app.db.tables import Job
from app.domain.errors import PalimpsestError
from app.settings import Settings
from worker.adapters.cache import UpdateCache
from worker.attempt.lease import Lease
from worker.attempt.loaded_bases import LoadedBases
from worker.attempt.worker_objects import WorkerObjects


class HandBackError(PalimpsestError):
    """The worker is shutting down, so the job goes back to the queue."""

    slug = "handed-back"


class ParentGoneError(PalimpsestError):
    """The version that this run trained on top of was erased meanwhile, so the job starts again on top of another."""

    slug = "parent-gone"


@dataclass(frozen=True)
class JobContext:
    """One attempt at one job."""

    job: Job
    lease: Lease
    engine: Engine
    objects: WorkerObjects
    bases: LoadedBases
    updates: UpdateCache
    settings: Settings
    shutdown: threading.Event = field(repr=False)

    def hand_back_at_shutdown(self) -> None:
        """Stop here if the worker has been asked to stop.

        Raises:
            HandBackError: it has.
        """
        if self.shutdown.is_set():
            raise HandBackError("The worker is shutting down.")
