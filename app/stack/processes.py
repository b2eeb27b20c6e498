"""Child processes: started in a session of their own, told to stop when their parent dies, and stopped for good."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from app.stack.private_files import OTHERS
from app.stack.process_logs import opened_log
from app.stack.waiting import becomes_true

_KILL_SECONDS = 5.0
_CLOCK_TOLERANCE_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Program:
    """What to run, in which folder, and how it is stopped: `stop_signal`, then SIGKILL after `stop_seconds`."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path | None = None
    stdin: str = field(default="", repr=False)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 20.0


@dataclass(frozen=True)
class Started:
    """What must be remembered of a process to stop it later, even by another supervisor."""

    pid: int
    created: float
    stop_signal: int
    stop_seconds: float

    @classmethod
    def of(cls, pid: int, stop_signal: int, stop_seconds: float) -> "Started | None":
        """The process that has this number now, if any."""
        try:
            return cls(pid, psutil.Process(pid).create_time(), stop_signal, stop_seconds)
        except psutil.NoSuchProcess:
            return None

    def process(self) -> psutil.Process | None:
        """The process, unless it has ended or another one has its number now."""
        process = self._identified()
        # A zombie has ended; the first process of a container does not always collect those it inherits.
        return process if process is not None and _is_alive(process) else None

    def stop(self) -> None:
        """Stop the process, and kill what is left of its session."""
        process = self.process()
        if process is not None:
            _send(process, self.stop_signal)
            if not becomes_true(lambda: self.process() is None, self.stop_seconds):
                _send(process, signal.SIGKILL)
        for survivor in self._left_in_session():
            _send(survivor, signal.SIGKILL)
        becomes_true(lambda: not self._left_in_session(), _KILL_SECONDS)

    def _identified(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            return process if abs(process.create_time() - self.created) < _CLOCK_TOLERANCE_SECONDS else None
        except psutil.NoSuchProcess:
            return None

    def _left_in_session(self) -> list[psutil.Process]:
        # While a session has members no new process gets its number; without any, the number may name a stranger.
        if psutil.pid_exists(self.pid) and self._identified() is None:
            return []
        return [process for process in psutil.process_iter() if _session(process) == self.pid and _is_alive(process)]


def spawn(program: Program, home: Path) -> tuple[subprocess.Popen[bytes], Started]:
    """Start the program; its output goes to its log.

    Call it from the main thread: Linux delivers the parent's death when the *thread* that forked ends.
    In a session of its own the child does not get the terminal's Ctrl-C, which is the supervisor's to handle.
    """
    with opened_log(home, program.name) as log:
        child = subprocess.Popen(
            program.command,
            env={**os.environ, **program.environment},
            cwd=program.folder,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=OTHERS,
            preexec_fn=_stop_with_parent(os.getpid(), program.stop_signal),
        )
    created = psutil.Process(child.pid).create_time()
    _feed(child, program.stdin)
    return child, Started(child.pid, created, program.stop_signal, program.stop_seconds)


def _send(process: psutil.Process, signum: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signum)


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except OSError:
        return None


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _feed(child: subprocess.Popen[bytes], text: str) -> None:
    assert child.stdin is not None
    # A child that died at once breaks the pipe; the caller that waits for its answer reports the death.
    with suppress(BrokenPipeError), child.stdin as stdin:
        stdin.write(text.encode())


def _stop_with_parent(parent: int, stop_signal: signal.Signals) -> Callable[[], None]:
    def before_exec() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(stop_signal))
        if os.getppid() != parent:  # It died before the line above took effect.
            os._exit(1)

    return before_exec
