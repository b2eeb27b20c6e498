"""Starts processes, starts a crashed one again, and stops all of them in reverse order."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from app.stack.process_logs import last_log_line, log_path, rotate_log
from app.stack.processes import Program, Started, spawn
from app.stack.records import Records
from app.stack.signals import StopRequest
from app.stack.stack_errors import InterruptedStartError, StackError
from app.stack.waiting import Condition, becomes_true

_POLL_SECONDS = 0.2
_FIRST_BACKOFF_SECONDS = 1.0
_LONGEST_BACKOFF_SECONDS = 30.0
_HEALTHY_AFTER_SECONDS = 60.0

Say = Callable[[str], None]


@dataclass
class _Child:
    program: Program
    process: subprocess.Popen[bytes]
    started: Started
    started_at: float
    backoff_seconds: float = _FIRST_BACKOFF_SECONDS
    restart_at: float | None = None


class Supervisor:
    """The children of this process. Use it as a context manager: leaving it stops them all."""

    def __init__(self, home: Path, stop_request: StopRequest, say: Say) -> None:
        self._home = home
        self._stop_request = stop_request
        self._say = say
        self._records = Records(home)
        self._children: list[_Child] = []

    def __enter__(self) -> "Supervisor":
        self._records.stop_leftovers()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, program: Program, ready: Condition, timeout_seconds: float) -> None:
        """Start a program and wait until it is ready.

        Raises:
            StackError: it exited or is not ready in time; it has been stopped.
            InterruptedStartError: a stop was requested meanwhile.
        """
        child = _Child(program, *self._spawn(program), time.monotonic())
        self._children.append(child)
        settled = becomes_true(lambda: self._is_over(child) or ready(), timeout_seconds)
        if settled and not self._is_over(child):
            return
        self._children.remove(child)
        _end(child)
        if self._stop_request.made:
            raise InterruptedStartError("stopped while starting")
        happened = "exited" if settled else f"did not answer within {timeout_seconds:.0f} s"
        reason = last_log_line(self._home, program.name)
        raise StackError(f"{program.name} {happened}: {reason} (log: {log_path(self._home, program.name)})")

    def run(self) -> None:
        """Start again whatever exits, and keep the logs short, until a stop is requested."""
        while not self._stop_request.made:
            time.sleep(_POLL_SECONDS)
            for child in self._children:
                self._look_after(child)
                rotate_log(self._home, child.program.name)

    def stop(self) -> None:
        """Stop all children, the latest first."""
        while self._children:
            _end(self._children.pop())
        self._records.clear()

    def _look_after(self, child: _Child) -> None:
        code, now = child.process.poll(), time.monotonic()
        if code is None:
            return
        if child.restart_at is None:
            if now - child.started_at > _HEALTHY_AFTER_SECONDS:
                child.backoff_seconds = _FIRST_BACKOFF_SECONDS
            child.restart_at = now + child.backoff_seconds
            again = f"starting it again in {child.backoff_seconds:.0f} s"
            self._say(
                f"{child.program.name} exited ({code}); {again} (log: {log_path(self._home, child.program.name)})"
            )
        elif now >= child.restart_at:
            child.started.stop()  # What the crashed process has left in its session.
            child.process, child.started = self._spawn(child.program)
            child.started_at, child.restart_at = now, None
            child.backoff_seconds = min(2 * child.backoff_seconds, _LONGEST_BACKOFF_SECONDS)

    def _spawn(self, program: Program) -> tuple[subprocess.Popen[bytes], Started]:
        process, started = spawn(program, self._home)
        self._records.add(program.name, started)
        return process, started

    def _is_over(self, child: _Child) -> bool:
        return child.process.poll() is not None or self._stop_request.made


def _end(child: _Child) -> None:
    child.started.stop()
    child.process.wait()
