"""A worker like any other, in which a wall clock can jump and a disk be full: `worker_entry <control> celery words...`.

Both are done to this process alone, without root: a tmpfs needs a mount, and libfaketime a package. The clock is that
of `time`; `datetime.now`, which C code reads, is left alone: the worker's own code asks neither.
"""

import errno
import os
import sys
import time
from pathlib import Path

from tests.chaos.control import Control


def jumpy_clock(control: Control) -> None:
    """Let the wall clock of `time` follow the control."""
    seconds, nanoseconds = time.time, time.time_ns
    time.time = lambda: seconds() + control.clock_seconds
    time.time_ns = lambda: nanoseconds() + int(control.clock_seconds * 1e9)


def full_disk(control: Control) -> None:
    """Let writes of whole files fail as they do on a full disk: half of the bytes are there by then."""
    write_bytes = Path.write_bytes

    def write(path: Path, data: bytes) -> int:
        if not control.disk_full:
            return write_bytes(path, data)
        write_bytes(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    Path.write_bytes = write  # type: ignore[method-assign,assignment]


def counted_steps(control: Control) -> None:
    """Count every optimizer step, also those of which the database never hears."""
    from worker.jobs.training_hooks import TrainHooks

    do_step = TrainHooks.step

    def count(self: TrainHooks, step: int, total_steps: int, loss: float | None) -> None:
        if loss is not None:
            control.count_step()
        do_step(self, step, total_steps, loss)

    TrainHooks.step = count  # type: ignore[method-assign]


def main() -> None:
    """Prepare the process, then be Celery."""
    control = Control(Path(sys.argv[1]))
    jumpy_clock(control)
    full_disk(control)
    counted_steps(control)
    from celery.__main__ import main as celery

    sys.argv = ["celery", *sys.argv[2:]]
    celery()


if __name__ == "__main__":
    main()
