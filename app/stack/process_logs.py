"""The log of each process: a file of the home, and the one before it. Neither grows over its limit for long."""

import os
import shutil
from pathlib import Path
from typing import BinaryIO

from app.stack.private_files import private_folder

LIMIT_BYTES = 16 * 1024 * 1024


def log_path(home: Path, name: str) -> Path:
    """The file that holds the output of the program of that name."""
    return private_folder(home / "logs") / f"{name}.log"


def last_log_line(home: Path, name: str) -> str:
    """The last thing that the program said, for an error message."""
    path = log_path(home, name)
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def opened_log(home: Path, name: str) -> BinaryIO:
    """The log, for a process to append to."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.fdopen(os.open(log_path(home, name), flags, 0o600), "ab")


def rotate_log(home: Path, name: str, limit_bytes: int = LIMIT_BYTES) -> None:
    """Set a log aside that has outgrown its limit, while its process goes on writing.

    The file is copied and emptied, since the process holds it open: it appends, so it goes on at the new end. What it
    writes between the copy's end and the emptying is lost.
    """
    path = log_path(home, name)
    if not path.exists() or path.stat().st_size <= limit_bytes:
        return
    draft = path.with_suffix(".log.new")
    with (
        path.open("rb") as source,
        os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as copy,
    ):
        shutil.copyfileobj(source, copy)
        os.truncate(path, 0)
    draft.replace(path.with_suffix(".log.1"))
