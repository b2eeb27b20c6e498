"""`palimpsest up` for the demo: a process of its own, on a free port, stopped at the end however that comes."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.stack.process_logs import last_log_line, log_path
from app.stack.processes import Program, spawn
from app.stack.waiting import becomes_true
from demo.errors import DemoError

_START_SECONDS = 180.0
_STOP_SECONDS = 60.0
_NAME = "demo-up"

# The demo is on its own: a developer's own services are not for playing.
_NOT_INHERITED = ("DATABASE_URL", "BROKER_URL", "S3_ENDPOINT_URL", "PALIMPSEST_HOME", "PALIMPSEST_WORKER_KINDS")


@dataclass(frozen=True)
class Stack:
    """A running stack."""

    url: str
    admin_key: str


@contextmanager
def running_stack(home: Path) -> Iterator[Stack]:
    """Start everything in `home`, and stop it at the end.

    Raises:
        DemoError: it does not start.
    """
    for name in _NOT_INHERITED:
        os.environ.pop(name, None)
    home.mkdir(parents=True, exist_ok=True)
    log = log_path(home, _NAME)
    log.unlink(missing_ok=True)
    command = (sys.executable, "-m", "app.cli", "up", "--home", str(home), "--port", "0")
    process, started = spawn(Program(_NAME, command, stop_seconds=_STOP_SECONDS), home)
    try:
        becomes_true(lambda: process.poll() is not None or _url(log) is not None, _START_SECONDS)
        url = _url(log)
        if url is None or process.poll() is not None:
            raise DemoError(f"the stack did not start: {last_log_line(home, _NAME)}")
        yield Stack(url, (home / "admin.key").read_text().strip())
    finally:
        started.stop()
        process.wait()


def _url(log: Path) -> str | None:
    """Where the API answers, once `up` has said that it does."""
    printed = log.read_text(errors="replace")
    found = re.search(r"API +(http://\S+)", printed) if "Palimpsest is up" in printed else None
    return None if found is None else found[1]
