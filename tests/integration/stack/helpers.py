"""What the tests of the stack share: small programs to supervise, and looks at real processes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from app.settings import Settings
from app.stack.addresses import Addresses
from app.stack.private_files import home_folder
from app.stack.processes import Program
from app.stack.services import start_services
from app.stack.signals import StopRequest
from app.stack.supervisor import Supervisor
from app.stack.waiting import Condition, becomes_true
from tests.services import without_addresses

PATIENCE_SECONDS = 180.0


def eventually(condition: Condition) -> None:
    """Wait for what must happen soon, with patience for a busy machine."""
    assert becomes_true(condition, PATIENCE_SECONDS)


def python_program(name: str, code: str, *, stop_seconds: float = 20.0) -> Program:
    """A program of a few lines of Python."""
    return Program(name, (sys.executable, "-c", code), stop_seconds=stop_seconds)


def supervisor_of(home: Path, stop_request: StopRequest | None = None) -> Supervisor:
    """A supervisor that says nothing."""
    return Supervisor(home_folder(home), stop_request or StopRequest(), lambda _: None)


@contextmanager
def embedded(home: Path) -> Iterator[Addresses]:
    """The embedded services of that home, while the block runs."""
    with supervisor_of(home) as supervisor:
        yield start_services(without_addresses(Settings(home=home)), home.resolve(), supervisor)


def processes_of(home: Path) -> list[psutil.Process]:
    """Every process that has to do with that home, by its command line or its working folder."""
    return [process for process in psutil.process_iter() if _mentions(process, str(home.resolve()))]


def _mentions(process: psutil.Process, text: str) -> bool:
    if process.pid == psutil.Process().pid:
        return False
    try:
        return any(text in word for word in [*process.cmdline(), process.cwd(), str(process.environ())])
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
