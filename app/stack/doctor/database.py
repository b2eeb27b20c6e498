"""Postgres: whether it answers, is encrypted, new enough and migrated, and keeps what a session asks of it."""

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from app.db.migrate import head_revision, known_revisions
from app.db.session import make_engine
from app.stack.addresses import without_secrets
from app.stack.doctor.clocks import clock_findings
from app.stack.doctor.findings import Finding, first_line, problem, warning
from app.stack.doctor.given_settings import is_near

_OLDEST = 15
_TESTED = 18
_POOLER = "Use a direct connection, or PgBouncer with pool_mode = session and `options` kept"
_VERIFY = "Add sslmode=verify-full and sslrootcert to DATABASE_URL"
_ENCRYPTED = ("require", "verify-ca", "verify-full")


def database_findings(database_url: str) -> Iterator[Finding]:
    """What is wrong with the database of that URL."""
    yield from encryption_findings(database_url)
    engine = make_engine(database_url)
    try:
        yield from _look(engine)
    except SQLAlchemyError as error:
        said = first_line(error)
        if "unsupported startup parameter" in said:
            yield problem(f"Postgres stands behind a pooler that refuses session options ({said})", _POOLER)
        else:
            place = without_secrets(database_url)
            yield problem(f"Postgres at {place} cannot be used ({said})", "Start it, or correct DATABASE_URL")
    finally:
        engine.dispose()


def encryption_findings(database_url: str) -> Iterator[Finding]:
    """What the URL leaves open on the way."""
    mode = make_url(database_url).query.get("sslmode")
    if is_near(database_url) or mode == "verify-full":
        return
    if mode in _ENCRYPTED:
        yield warning(
            f"sslmode={mode} does not prove which server answers",
            _VERIFY,
        )
    else:
        yield problem(
            "the way to Postgres may be unencrypted", "Add sslmode=verify-full and sslrootcert to DATABASE_URL"
        )


def _look(engine: Engine) -> Iterator[Finding]:
    with engine.connect() as connection:
        yield from version_findings(int(connection.scalar(text("SHOW server_version_num")) or 0))
        yield from clock_findings("Postgres", connection.scalar(text("SELECT clock_timestamp()")), datetime.now(UTC))
        yield from _role(connection)
        yield from _schema(connection)
    # Of a connection that another client may have had before, in a transaction of its own.
    with engine.connect() as connection:
        kept = connection.scalar(text("SHOW idle_in_transaction_session_timeout"))
    if kept != "30s":
        yield problem(
            f"Postgres stands behind a pooler that drops session options (an idle transaction may last {kept!r})",
            _POOLER,
        )


def version_findings(number: int) -> Iterator[Finding]:
    """What that `server_version_num` means."""
    major = number // 10_000
    if major < _OLDEST:
        yield problem(f"Postgres {major} is too old", f"Upgrade to {_TESTED}, which is tested; {_OLDEST} is the oldest")


def _role(connection: Connection) -> Iterator[Finding]:
    if connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")):
        yield warning(
            "DATABASE_URL names a superuser, who can read files of Postgres's machine",
            "Make a role that owns the database, and nothing more",
        )


def _schema(connection: Connection) -> Iterator[Finding]:
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        yield problem("the database has no tables yet", "Run: palimpsest bootstrap")
        return
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if found not in known_revisions():
        yield problem(f"the schema ({found}) is that of a newer release", "Install that release here too")
    elif found != head_revision():
        yield problem(f"the schema ({found}) is that of an older release", "Run: palimpsest migrate")
