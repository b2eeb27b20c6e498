"""Files under PALIMPSEST_HOME that nobody else may read, and that a crash never leaves half written."""

import os
import secrets
from pathlib import Path


def private_folder(path: Path) -> Path:
    """`path` as a folder that only its owner may enter."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def home_folder(path: Path) -> Path:
    """PALIMPSEST_HOME, made if absent.

    Under root the database runs as another user, who must be able to pass through, though not to list it.
    """
    path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    return path.resolve()


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
