"""One `up` per home: the kernel drops the lock when its holder dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.stack.stack_errors import StackError


@contextmanager
def home_lock(home: Path) -> Iterator[None]:
    """Hold the home for this process.

    Raises:
        StackError: another process holds it.
    """
    with (home / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            detail = f"palimpsest is already up in {home} (process {file.read().strip() or 'unknown'})"
            raise StackError(detail) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
