"""The file that holds the first administrator's API key; the database holds only its hash."""

import os
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from app.bootstrap import bootstrap, new_admin_key
from app.settings import Settings
from app.stack.private_files import home_folder, write_private
from app.stack.stack_errors import StackError

ADMIN_KEY_FILE = "admin.key"


def keep_admin_key(settings: Settings, path: Path | None = None) -> str:
    """Prepare the database and the bucket, and write down the admin's key, in the home or at `path`, if this made one.

    Returns:
        What to tell the person who looks for the key.

    Raises:
        StackError: nothing can be written there; then nothing was made, since the key is shown only once.
    """
    path = path or home_folder(settings.home) / ADMIN_KEY_FILE
    if not os.access(path.parent, os.W_OK):
        raise StackError(f"the admin's key cannot be written to {path}: name another file")
    if (key := bootstrap(settings)) is not None:
        write_private(path, key + "\n")
    if path.exists():
        return f"in {path}"
    return f"not in {path}, and it cannot be shown again; make another with: palimpsest admin-key"


def replace_admin_key(settings: Settings) -> Path:
    """Give the admin another key, and write it where the first one was.

    Raises:
        StackError: the database is out of reach.
    """
    try:
        key = new_admin_key(settings)
    except SQLAlchemyError as error:
        raise StackError(f"no new key: {str(error).splitlines()[0]}") from error
    path = home_folder(settings.home) / ADMIN_KEY_FILE
    write_private(path, key + "\n")
    return path
