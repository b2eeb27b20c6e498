"""This machine: room on its disk, and a home that others can read."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from app.stack.doctor.findings import Finding, problem, warning

MIB = 1024 * 1024
_LEAST_BYTES = 256 * MIB
_LOW_BYTES = 4096 * MIB
_OTHERS = 0o077


def machine_findings(home: Path) -> Iterator[Finding]:
    """What is wrong here; nothing is, if there is no home."""
    if not home.is_dir():
        return
    yield from disk_findings(home, shutil.disk_usage(home).free)
    yield from _privacy(home)


def disk_findings(home: Path, free_bytes: int) -> Iterator[Finding]:
    """What so much room means."""
    what = f"{free_bytes // MIB} MiB are free on the disk of {home}"
    advice = "Make room, lower PALIMPSEST_UPDATE_CACHE_BYTES, or move the home"
    if free_bytes < _LEAST_BYTES:
        yield problem(f"{what}: Postgres and S3 soon cannot write", advice)
    elif free_bytes < _LOW_BYTES:
        yield warning(what, advice)


def _privacy(home: Path) -> Iterator[Finding]:
    if not home.stat().st_mode & _OTHERS:
        return
    readable = [path for path in _files(home) if path.stat().st_mode & _OTHERS]
    if readable:
        yield problem(
            f"other users of this machine may read {len(readable)} files of {home}, {readable[0].name} among them",
            f"Run: chmod 700 {home}",
        )


def _files(folder: Path) -> Iterator[Path]:
    """What others could reach: a closed folder protects all that is in it."""
    for path in folder.iterdir():
        if path.is_symlink():
            continue
        if path.is_dir():
            if path.stat().st_mode & _OTHERS:
                yield from _files(path)
        elif path.is_file():
            yield path
