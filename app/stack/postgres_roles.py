"""Who is who in the embedded Postgres: its superuser makes the database, and Palimpsest's own role owns it."""

from collections.abc import Callable

import psycopg
from psycopg import sql

# Homes that were made when Palimpsest was the superuser have it under this name, which cannot be taken from it.
SUPERUSER = "palimpsest"
ROLE = "palimpsest_service"
DATABASE = "palimpsest"

_RIGHTS = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
# What the superuser owns in a database of an older home; indexes and the sequences of columns follow their tables.
_OWNED = """
SELECT format('ALTER TABLE %s OWNER TO', c.oid::regclass) FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relowner = 'palimpsest'::regrole
"""

Conninfo = Callable[[str], str]


def prepare_database(superuser: Conninfo, password: str) -> None:
    """Make the role and its database where they are missing, and let it own what an older release has made.

    Raises:
        psycopg.OperationalError: the server does not answer.
    """
    with psycopg.connect(superuser("postgres"), autocommit=True) as connection:
        _make_role(connection, password)
        owner = connection.execute(
            "SELECT datdba::regrole::text FROM pg_database WHERE datname = %s", (DATABASE,)
        ).fetchone()
        if owner is None:
            connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
        elif owner[0] != ROLE:
            _hand_over(superuser)


def _make_role(connection: psycopg.Connection, password: str) -> None:
    found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,)).fetchone()
    # Only its verifier: a statement may come into the server's log.
    verifier = connection.pgconn.encrypt_password(password.encode(), ROLE.encode(), b"scram-sha-256").decode()
    verb = "ALTER" if found else "CREATE"
    connection.execute(sql.SQL(f"{verb} ROLE {ROLE} {_RIGHTS} PASSWORD {{}}").format(sql.Literal(verifier)))


def _hand_over(superuser: Conninfo) -> None:
    """All of it or nothing: the database goes last, and is how it is seen that this was done."""
    with psycopg.connect(superuser(DATABASE)) as connection:
        for (statement,) in connection.execute(_OWNED).fetchall():
            connection.execute(f"{statement} {ROLE}")
        connection.execute(f"ALTER DATABASE {DATABASE} OWNER TO {ROLE}")
