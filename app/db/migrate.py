"""Migrations, run by code: `palimpsest up` and the tests use the same call as `palimpsest migrate`."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

import app.db.deletion_tables
import app.db.evaluation_tables
import app.db.usage  # noqa: F401 - so that the metadata has every table
import migrations
from app.db.session import make_engine

# Two processes that start at once must not both migrate: an advisory lock of this number makes the second wait.
_LOCK = 0x50414C49


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
    """Bring the database to `revision`; a second caller waits for the first."""
    engine = make_engine(database_url)
    try:
        with engine.begin() as connection:
            _without_idle_limit(connection)
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


def downgrade(database_url: str, revision: str) -> None:
    """Take the database back to `revision`."""
    engine = make_engine(database_url)
    try:
        with engine.begin() as connection:
            _without_idle_limit(connection)
            config = alembic_config()
            config.attributes["connection"] = connection
            command.downgrade(config, revision)
    finally:
        engine.dispose()


def _without_idle_limit(connection: Connection) -> None:
    """A worker's engine ends a transaction that idles; a migration may well compute for longer between statements."""
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
