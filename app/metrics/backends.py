"""What a process counts of the services that it uses."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy import Pool, QueuePool

WAKEUPS = Counter("palimpsest_wakeups", "Wake-ups, by what became of them: sent, full or failed.", ["queue", "result"])
DEPENDENCY_UP = Gauge("palimpsest_dependency_up", "Whether a service answered when it was last asked.", ["service"])
POOL = Gauge("palimpsest_db_pool_connections", "Connections to Postgres that this process has.", ["state"])
S3_SECONDS = Histogram(
    "palimpsest_s3_request_seconds",
    "Of a request to S3, its retries among them.",
    ["operation", "result"],
    buckets=(0.005, 0.025, 0.1, 0.25, 1, 2.5, 10, 30, 100),
)


def watch_pool(pool: Pool) -> None:
    """Tell of this pool, whenever somebody asks."""
    assert isinstance(pool, QueuePool)
    POOL.labels("in_use").set_function(pool.checkedout)
    POOL.labels("idle").set_function(pool.checkedin)


@contextmanager
def timed_s3(operation: str) -> Iterator[None]:
    """Time a request to S3, whether it succeeds or not."""
    began_at, result = time.monotonic(), "failed"
    try:
        yield
        result = "ok"
    finally:
        S3_SECONDS.labels(operation, result).observe(time.monotonic() - began_at)
