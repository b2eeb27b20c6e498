"""The file that holds the first administrator's API key; the database holds only its hash."""

from pathlib import Path

from app.stack.files import write_private

_FILE_NAME = "admin.key"


def keep_admin_key(home: Path, new_key: str | None) -> str:
    """Write down the key if it is new; what to tell the person who looks for it."""
    path = home / _FILE_NAME
    if new_key is not None:
        write_private(path, new_key + "\n")
    if path.exists():
        return f"in {path}"
    return f"{path} is gone, and the key cannot be shown again; make a new one: palimpsest admin-key"
