"""Migrations, run by code: `palimpsest up` and the tests use the same call as `palimpsest migrate`."""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

import app.db.deletion_tables
import app.db.evaluation_tables
import app.db.usage  # noqa: F401 - so that the metadata has every table
import migrations
from app.db.session import make_engine
from app.domain.errors import PalimpsestError
from app.domain.patience import WITHOUT_END

# Two processes that start at once must not both migrate: an advisory lock of this number makes the second wait.
_LOCK = 0x50414C49

_LOCK_TIMEOUT_MS = 3000
_TRIES = 20


class SchemaBusyError(PalimpsestError):
    """The schema is in use."""

    slug = "schema-busy"


def alembic_config() -> Config:
    """Alembic's configuration without an ini file."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def known_revisions() -> set[str]:
    """The revisions of the schema that this release can migrate from."""
    scripts = ScriptDirectory.from_config(alembic_config())
    return {script.revision for script in scripts.walk_revisions()}


def head_revision() -> str:
    """The schema that this release works with."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


def upgrade(database_url: str, revision: str = "head") -> None:
    """Bring the database to `revision`; a second caller waits for the first.

    Raises:
        SchemaBusyError: a long transaction holds a table that has to change.
    """
    _migrate(database_url, lambda config: command.upgrade(config, revision))


def downgrade(database_url: str, revision: str) -> None:
    """Take the database back to `revision`.

    Raises:
        SchemaBusyError: a long transaction holds a table that has to change.
    """
    _migrate(database_url, lambda config: command.downgrade(config, revision))


def _migrate(database_url: str, run: Callable[[Config], None]) -> None:
    engine = make_engine(database_url, WITHOUT_END)
    try:
        with engine.connect() as lock, engine.connect() as connection:
            _wait_for_turn(lock)
            _with_patience(connection, run)
    finally:
        engine.dispose()


def _wait_for_turn(connection: Connection) -> None:
    """Held by the session, so that migrations may commit; it ends with the connection."""
    connection.execution_options(isolation_level="AUTOCOMMIT")
    _without_limits(connection)
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})


def _with_patience(connection: Connection, run: Callable[[Config], None]) -> None:
    """Try again where somebody held a table: to wait in the queue of its locks would hold up everybody else."""
    for left in reversed(range(_TRIES)):
        _without_limits(connection)
        connection.execute(text("SELECT set_config('lock_timeout', :limit, false)"), {"limit": f"{_LOCK_TIMEOUT_MS}"})
        connection.commit()
        config = alembic_config()
        config.attributes["connection"] = connection
        try:
            run(config)
            return
        except OperationalError as error:
            connection.rollback()
            if not isinstance(error.orig, LockNotAvailable):
                raise
            if not left:
                raise SchemaBusyError("A long transaction holds a table that has to change; try again.") from error


def _without_limits(connection: Connection) -> None:
    """The engine's limits are for workers; a migration may well compute for longer, within a statement and between."""
    for name in ("idle_in_transaction_session_timeout", "statement_timeout"):
        connection.execute(text("SELECT set_config(:name, '0', false)"), {"name": name})
