"""The real services that integration and acceptance tests run on, started once per session by `app.stack`."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import redis
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.engine import URL

from app.db.migrate import upgrade
from app.settings import Settings
from app.stack.addresses import Addresses
from app.stack.postgres import Postgres
from app.stack.postgres_roles import ROLE
from app.stack.private_files import home_folder
from app.stack.services import start_services
from app.stack.signals import StopRequest
from app.stack.supervisor import Supervisor
from app.storage import ObjectStore

EMPTY = "template0"
_TEMPLATE = "migrated"
_BROKER_DATABASES = 16

_numbers = itertools.count()


@contextmanager
def running_services(home: Path) -> Iterator[Addresses]:
    """Postgres, with a migrated template database, Redis and S3; all of them are stopped at the end."""
    with Supervisor(home_folder(home), StopRequest(), print) as supervisor:
        addresses = start_services(without_addresses(Settings(home=home)), home, supervisor)
        _give_tests_more_rights(home, addresses)
        _execute(addresses, f"CREATE DATABASE {_TEMPLATE}")
        upgrade(_database_url(addresses, _TEMPLATE))
        # What a test wrote into it would be in the databases of all later ones.
        _execute(addresses, f"ALTER DATABASE {_TEMPLATE} ALLOW_CONNECTIONS false")
        yield addresses


def without_addresses(settings: Settings) -> Settings:
    """The settings without what the developer's own environment may name: tests never touch another's data."""
    return settings.model_copy(update={"database_url": None, "broker_url": None, "s3_endpoint_url": None})


@contextmanager
def fresh_settings(addresses: Addresses, home: Path, template: str = _TEMPLATE) -> Iterator[Settings]:
    """Settings with a migrated database, an empty bucket and an empty broker of their own.

    With the template `EMPTY` the database has no tables.
    """
    number = next(_numbers)
    database = f"test_{number}"
    _execute(addresses, f"CREATE DATABASE {database} TEMPLATE {template}")
    settings = addresses.applied_to(Settings(home=home)).model_copy(
        update={
            "database_url": _database_url(addresses, database),
            "broker_url": _flushed_broker(addresses, number % _BROKER_DATABASES),
            "s3_bucket": f"test-{number}",
        }
    )
    ObjectStore(settings).ensure_bucket()
    try:
        yield settings
    finally:
        _execute(addresses, f"DROP DATABASE {database} WITH (FORCE)")


def _give_tests_more_rights(home: Path, addresses: Addresses) -> None:
    """Palimpsest's own role may not make databases, nor drop one that is being vacuumed, nor break keys."""
    server = Postgres(home, make_url(addresses.database_url).port or 0)
    with psycopg.connect(server.superuser_conninfo("postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {ROLE} CREATEDB")
        connection.execute(f"GRANT pg_signal_backend TO {ROLE}")
        connection.execute(f"GRANT SET ON PARAMETER session_replication_role TO {ROLE}")


def _execute(addresses: Addresses, statement: str) -> None:
    engine = create_engine(addresses.database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def _database_url(addresses: Addresses, database: str) -> str:
    url: URL = make_url(addresses.database_url).set(database=database)
    return url.render_as_string(hide_password=False)


def _flushed_broker(addresses: Addresses, number: int) -> str:
    url = addresses.broker_url.removesuffix("/0") + f"/{number}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url
