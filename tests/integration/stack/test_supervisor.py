"""The supervisor with real processes: crashes, refusals to stop, and what a killed supervisor leaves."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from app.stack.processes import Started, spawn
from app.stack.signals import StopRequest
from app.stack.stack_errors import InterruptedStartError, StackError
from app.stack.supervisor import Supervisor
from app.stack.waiting import becomes_true
from tests.integration.stack.helpers import PATIENCE_SECONDS, eventually, python_program, supervisor_of

WAIT = "import signal; signal.pause()"
SAY_PID = "import os, pathlib, sys; pathlib.Path(r'{path}').write_text(str(os.getpid()));"
# Ignores the polite signal, and has a child that does too.
STUBBORN = (
    "import signal, subprocess, sys, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']);"
    "pathlib.Path(r'{path}').write_text(str(child.pid)); signal.pause()"
)


def written(path: Path) -> Callable[[], bool]:
    return lambda: path.exists() and path.read_text() != ""


def run_until(
    supervisor: Supervisor,
    stop_request: StopRequest,
    condition: Callable[[], bool],
    patience_seconds: float = PATIENCE_SECONDS,
) -> bool:
    """Let the supervisor run in this thread, its children's parent, until the condition holds."""
    happened = []

    def watch() -> None:
        happened.append(becomes_true(condition, patience_seconds))
        stop_request.made = True

    watcher = threading.Thread(target=watch)
    watcher.start()
    supervisor.run()
    watcher.join()
    return happened[0]


def test_a_crashed_child_is_started_again(tmp_path: Path) -> None:
    pid_file, stop_request = tmp_path / "pid", StopRequest()
    with supervisor_of(tmp_path, stop_request) as supervisor:
        program = python_program("child", SAY_PID.format(path=pid_file) + WAIT)
        supervisor.start(program, written(pid_file), PATIENCE_SECONDS)
        first = pid_file.read_text()
        os.kill(int(first), signal.SIGKILL)
        assert run_until(supervisor, stop_request, lambda: pid_file.read_text() not in ("", first))
        second = int(pid_file.read_text())
        assert psutil.pid_exists(second)
    assert not psutil.pid_exists(second)


def test_children_stop_in_reverse_order(tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = (
        "import signal, pathlib; signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}});"
        "pathlib.Path(r'{ready}').write_text('x'); signal.sigwait({{signal.SIGTERM}});"
        "open(r'{order}', 'a').write('{name} ')"
    )
    with supervisor_of(tmp_path) as supervisor:
        for name in ("one", "two", "three"):
            program = python_program(name, code.format(order=order, name=name, ready=tmp_path / name))
            supervisor.start(program, written(tmp_path / name), PATIENCE_SECONDS)
    assert order.read_text().split() == ["three", "two", "one"]


def test_what_refuses_to_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    grandchild_file = tmp_path / "grandchild"
    with supervisor_of(tmp_path) as supervisor:
        program = python_program("stubborn", STUBBORN.format(path=grandchild_file), stop_seconds=0.5)
        supervisor.start(program, written(grandchild_file), PATIENCE_SECONDS)
        grandchild = int(grandchild_file.read_text())
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE


def test_a_program_that_exits_at_once_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with supervisor_of(tmp_path) as supervisor, pytest.raises(StackError, match="child exited: no such luck") as caught:
        supervisor.start(python_program("child", "import sys; sys.exit('no such luck')"), lambda: False, 60)
    assert "\n" not in caught.value.detail


def test_a_program_that_never_answers_is_an_error_and_stopped(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with supervisor_of(tmp_path) as supervisor:
        program = python_program("child", SAY_PID.format(path=pid_file) + WAIT)
        with pytest.raises(StackError, match="did not answer within 3 s"):
            supervisor.start(program, lambda: False, 3)
    assert not psutil.pid_exists(int(pid_file.read_text()))


def test_a_stop_request_ends_the_waiting(tmp_path: Path) -> None:
    stop_request = StopRequest(made=True)
    with supervisor_of(tmp_path, stop_request) as supervisor, pytest.raises(InterruptedStartError):
        supervisor.start(python_program("child", WAIT), lambda: False, PATIENCE_SECONDS)


def test_the_next_supervisor_stops_what_a_killed_one_left(tmp_path: Path) -> None:
    """The child ignores SIGTERM, so the parent's death alone does not end it."""
    grandchild_file = tmp_path / "grandchild"
    script = (
        "from pathlib import Path\n"
        "from tests.integration.stack.helpers import python_program, supervisor_of\n"
        "import signal, sys\n"
        "with supervisor_of(Path(sys.argv[1])) as supervisor:\n"
        "    program = python_program('stubborn', sys.argv[2], stop_seconds=0.5)\n"
        "    supervisor.start(program, Path(sys.argv[3]).exists, 60)\n"
        "    signal.pause()\n"
    )
    stubborn = STUBBORN.format(path=grandchild_file)
    first = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), stubborn, str(grandchild_file)])
    eventually(written(grandchild_file))
    grandchild = psutil.Process(int(grandchild_file.read_text()))
    child = psutil.Process(grandchild.ppid())
    first.kill()
    first.wait()
    assert child.is_running()
    with supervisor_of(tmp_path):
        eventually(lambda: not child.is_running() and not grandchild.is_running())


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path\n"
        "from tests.integration.stack.helpers import python_program\n"
        "from app.stack.processes import spawn\n"
        "import os, signal, sys\n"
        f"_, started = spawn(python_program('child', '{WAIT}'), Path(sys.argv[1]))\n"
        "print(started.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    eventually(lambda: not psutil.pid_exists(int(done.stdout)))


def test_a_stranger_with_a_remembered_number_is_left_alone(tmp_path: Path) -> None:
    process, started = spawn(python_program("stranger", WAIT), tmp_path)
    Started(started.pid, started.created - 1000, signal.SIGKILL, 1).stop()
    assert process.poll() is None
    started.stop()
    process.wait()
