"""A running `palimpsest up` as the acceptance tests hold it: a real process, its terminal, its home."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from app.stack.waiting import Condition, becomes_true

PATIENCE_SECONDS = 240.0
GIVEN = ("DATABASE_URL", "BROKER_URL", "S3_ENDPOINT_URL", "PALIMPSEST_HOME", "PALIMPSEST_API_PORT")


class Up:
    """A running `palimpsest up`."""

    def __init__(
        self,
        home: Path,
        *options: str,
        port: int = 0,
        variables: dict[str, str] | None = None,
        program: Sequence[str] = (sys.executable, "-m", "app.cli"),
        folder: Path | None = None,
    ) -> None:
        self.home = home
        self.log = home.with_suffix(".terminal")
        command = [*program, "up", "--home", str(home), "--port", str(port), *options]
        with self.log.open("wb") as terminal:
            self.process = subprocess.Popen(
                command, stdout=terminal, stderr=subprocess.STDOUT, env=bare(variables), cwd=folder
            )

    def ready(self) -> "Up":
        eventually(lambda: "is up" in self.printed() or self.process.poll() is not None)
        assert self.process.poll() is None, self.printed()
        return self

    def printed(self) -> str:
        return self.log.read_text()

    def url(self) -> str:
        found = re.search(r"API +(http://\S+)", self.printed())
        assert found is not None
        return found[1]

    def admin(self) -> httpx.Client:
        key = (self.home / "admin.key").read_text().strip()
        return httpx.Client(base_url=self.url(), headers={"Authorization": f"Bearer {key}"}, timeout=30)

    def pids(self) -> dict[str, int]:
        records = json.loads((self.home / "processes.json").read_text())
        return {name: record["pid"] for name, record in records.items()}

    def end(self, signum: signal.Signals) -> int:
        self.process.send_signal(signum)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def running(home: Path, *options: str, variables: dict[str, str] | None = None) -> Iterator[Up]:
    with ended(Up(home, *options, variables=variables)) as up:
        yield up.ready()


@contextmanager
def ended(up: Up) -> Iterator[Up]:
    """What is running is brought to its end."""
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.end(signal.SIGTERM)


def bare(variables: dict[str, str] | None = None) -> dict[str, str]:
    """The environment without what would lead `up` to a developer's own services."""
    return {name: value for name, value in os.environ.items() if name not in GIVEN} | (variables or {})


def palimpsest(*words: str, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli", *words]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=bare(variables), timeout=PATIENCE_SECONDS
    )


def eventually(condition: Condition) -> None:
    assert becomes_true(condition, PATIENCE_SECONDS)


def survivors(home: Path) -> list[str]:
    """The command lines of the processes whose arguments, folder or environment name this home."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.cwd(), process.environ().get("PALIMPSEST_HOME", "")]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(str(home) in word for word in words):
            found.append(" ".join(process.cmdline()))
    return found
