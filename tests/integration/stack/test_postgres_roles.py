"""A home that an earlier release has made: its database belonged to a superuser, which Palimpsest was."""

from pathlib import Path

import psycopg
import pytest

from app.db.migrate import upgrade
from app.stack.ports import free_port
from app.stack.postgres import Postgres
from app.stack.postgres_roles import DATABASE, ROLE, SUPERUSER
from tests.integration.stack.helpers import PATIENCE_SECONDS, embedded, supervisor_of
from tests.integration.stack.test_services import database

OWNERS = """
SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()
"""


def make_old_home(home: Path) -> None:
    """As the release before made it, with a row, and migrated half way."""
    with supervisor_of(home) as supervisor:
        server = Postgres(home.resolve(), free_port())
        server.prepare()
        supervisor.start(server.program(), lambda: is_up(server), PATIENCE_SECONDS)
        with psycopg.connect(server.superuser_conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}")
        upgrade(as_superuser(server), "0009")
        with psycopg.connect(server.superuser_conninfo(DATABASE)) as connection:
            connection.execute("INSERT INTO users (id, name, is_admin) VALUES (gen_random_uuid(), 'ada', false)")


def is_up(server: Postgres) -> bool:
    try:
        psycopg.connect(server.superuser_conninfo("postgres")).close()
    except psycopg.OperationalError:
        return False
    return True


def as_superuser(server: Postgres) -> str:
    password = (server.home / "secrets" / "postgres").read_text()
    return f"postgresql+psycopg://{SUPERUSER}:{password}@127.0.0.1:{server.port}/{DATABASE}"


def test_what_the_superuser_owned_is_handed_over(tmp_path: Path) -> None:
    make_old_home(tmp_path)
    with embedded(tmp_path) as addresses:
        upgrade(addresses.database_url)
        with database(addresses) as connection:
            assert connection.execute(OWNERS).fetchall() == [(ROLE,)]
            assert connection.execute("SELECT name FROM users").fetchall() == [("ada",)]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT pg_read_file('/etc/passwd')")
