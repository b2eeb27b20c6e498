"""Files under PALIMPSEST_HOME that nobody else may read, and that a crash never leaves half written."""

import os
import secrets
import stat
from pathlib import Path

# What a home may hold.
_OURS = {
    *("admin.key", "lock", "logs", "ports", "postgres", "postgres.new", "processes.json", "redis", "s3", "secrets"),
    *("stack.json", "updates"),
}
_DRAFTS = tuple(f".{name}." for name in _OURS)
_PRIVATE = 0o700
OTHERS = 0o077


def private_folder(path: Path) -> Path:
    """`path` as a folder of ours that only its owner may enter; one that was open to others is closed."""
    path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    _close(path)
    return path


def home_folder(path: Path) -> Path:
    """PALIMPSEST_HOME, made if absent.

    A folder that was there before, with other things in it, keeps its mode: what we put into it is private anyway.
    """
    path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    if all(entry.name in _OURS or entry.name.startswith(_DRAFTS) for entry in path.iterdir()):
        _close(path)
    return path.resolve()


def keep_files_private() -> None:
    """Let nobody else read what this process and its children make from now on."""
    os.umask(OTHERS)


def _close(path: Path) -> None:
    """A folder of somebody else's is left as it is: the capability to change it is no reason to."""
    status = path.stat()
    if status.st_mode & OTHERS and status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX:
        path.chmod(_PRIVATE)


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 as a whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def remembered_secret(home: Path, name: str) -> str:
    """The secret of that name, drawn when it is first asked for."""
    path = private_folder(home / "secrets") / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path.read_text()
