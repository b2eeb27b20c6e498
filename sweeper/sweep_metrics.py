"""What the sweeper tells: of its own work, and of rows, which it alone counts. Of several sweepers each tells all."""

import logging
import math
import threading
import time
from collections.abc import Iterable

from prometheus_client import Counter, Gauge
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.db.census import (
    Sample,
    busy_workers,
    claimable_jobs,
    oldest_claimable_seconds,
    oldest_open_deletion_seconds,
    stored_bytes,
    unfinished_jobs,
)
from app.db.session import transaction

log = logging.getLogger(__name__)

_OFTEN_SECONDS = 10.0

JOBS = Gauge("palimpsest_jobs", "Jobs that are not over.", ["kind", "status"])
CLAIMABLE = Gauge("palimpsest_claimable_jobs", "Jobs that a worker could take now.", ["queue", "base_model"])
OLDEST_CLAIMABLE = Gauge("palimpsest_oldest_claimable_seconds", "How long the first of them has waited.", ["queue"])
WORKERS = Gauge("palimpsest_workers", "Workers that hold a job.", ["queue", "state"])
LEASES_EXPIRED = Counter("palimpsest_leases_expired", "Runs whose worker fell silent.", ["kind"])
LAST_SWEEP = Gauge("palimpsest_last_sweep_timestamp_seconds", "When the queue was last looked after.")
STRAYS_REMOVED = Counter("palimpsest_strays_removed", "Objects that no row named.")
OLDEST_DELETION = Gauge("palimpsest_oldest_open_deletion_seconds", "How long the oldest deletion has been open.")
STORED_BYTES = Gauge("palimpsest_stored_bytes", "Of all objects, counted seldom.", ["kind"])


def count_rows(engine: Engine) -> None:
    """What changes quickly, and is few rows of each table: every query has an index of its own."""
    with transaction(engine) as session:
        _set(JOBS, unfinished_jobs(session))
        _set(CLAIMABLE, claimable_jobs(session))
        _set(OLDEST_CLAIMABLE, oldest_claimable_seconds(session))
        _set(WORKERS, [Sample((*labels, "busy"), value) for labels, value in busy_workers(session)])
        OLDEST_DELETION.set(oldest_open_deletion_seconds(session))


def count_bytes(engine: Engine) -> None:
    """What changes slowly, and takes a look at every object."""
    with transaction(engine) as session:
        _set(STORED_BYTES, stored_bytes(session))


def keep_counting(engine: Engine, bytes_seconds: float) -> None:
    """Count rows every few seconds, and bytes, which reads every row of the largest table, every `bytes_seconds`.

    In a thread of its own, so that no count holds up a sweep; where nobody asks for metrics, do not call it.
    """
    threading.Thread(target=_count, args=(engine, bytes_seconds), name="count", daemon=True).start()


def _count(engine: Engine, bytes_seconds: float) -> None:
    bytes_at = -math.inf
    while True:
        try:
            count_rows(engine)
            if time.monotonic() - bytes_at >= bytes_seconds:
                count_bytes(engine)
                bytes_at = time.monotonic()
        except SQLAlchemyError as error:
            log.warning("not counted, to be tried again: %s", error)
        time.sleep(_OFTEN_SECONDS)


def _set(gauge: Gauge, samples: Iterable[Sample]) -> None:
    """Put these in place of what was there: what has no row any more is gone."""
    gauge.clear()
    for labels, value in samples:
        gauge.labels(*labels).set(value)
