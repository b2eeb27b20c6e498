"""The processes of a crew."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from app.stack.waiting import becomes_true

pytestmark = pytest.mark.slow

# Spawns a process as a crew does, has it do something, and then works on for ever.
_CREW = """
import os, sys, threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from benchmarks.experiments.crew import end_with_parent

if __name__ == "__main__":
    executor = ProcessPoolExecutor(1, get_context("spawn"), end_with_parent)
    print(executor.submit(os.getpid).result(), flush=True)
    threading.Event().wait()
"""
_PATIENCE_SECONDS = 60.0


def test_the_processes_of_a_killed_crew_end(tmp_path: Path) -> None:
    script = tmp_path / "crew.py"
    script.write_text(_CREW)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    crew = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert crew.stdout is not None
        worker = psutil.Process(int(crew.stdout.readline()))
    finally:
        crew.send_signal(signal.SIGKILL)
        crew.wait()
    assert becomes_true(lambda: not _lives(worker), _PATIENCE_SECONDS)


def _lives(process: psutil.Process) -> bool:
    """A process that nobody has waited for is none."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
