"""The commands of Palimpsest's own processes. By name, because the front end imports neither Celery's app nor torch."""

import secrets
import sys
from collections.abc import Sequence

from app.domain.base_models import Family
from app.domain.jobs import JobKind

_GRACE_SECONDS = 5
_SILENCE_SECONDS = 30


def api_command(host: str, port: int, processes: int = 1) -> tuple[str, ...]:
    """The HTTP front end: so many processes that take connections from one socket."""
    options = ("--host", host, "--port", str(port), "--no-server-header")
    # Event streams stay open for as long as their clients like; they must not hold up the end.
    grace = ("--timeout-graceful-shutdown", str(_GRACE_SECONDS))
    # A process that is not heard of for so long is replaced; on a busy machine even a sound one may be late.
    several = (
        ("--workers", str(processes), "--timeout-worker-healthcheck", str(_SILENCE_SECONDS)) if processes > 1 else ()
    )
    return (sys.executable, "-m", "uvicorn", "app.main:serve", "--factory", *options, *grace, *several)


def worker_command(kinds: Sequence[JobKind]) -> tuple[str, ...]:
    """A worker that takes jobs of these kinds, and of those that wait in the same queues."""
    queues = ",".join(dict.fromkeys(kind.queue.value for kind in kinds))
    options = ("--pool", "solo", "--queues", queues, "--loglevel", "INFO")
    # Workers find each other through Postgres alone. Two nodes of one name would confuse Celery.
    alone = ("--without-gossip", "--without-mingle", "--hostname", f"palimpsest-{secrets.token_hex(4)}@%h")
    return (sys.executable, "-m", "celery", "-A", "worker.celery_app:celery_app", "worker", *options, *alone)


def sweeper_command() -> tuple[str, ...]:
    """The process that re-queues expired leases and sends lost wake-ups again."""
    return (sys.executable, "-m", "sweeper")


def base_trial_command(family: Family, source: str) -> tuple[str, ...]:
    """What loads a base model and says why it does not load."""
    return (sys.executable, "-m", "worker.models.trial", family.value, source)
