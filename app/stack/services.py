"""The embedded services: those whose addresses the settings do not give."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from app.settings import Settings
from app.stack.addresses import Addresses, revealed
from app.stack.ports import is_free, remembered_port
from app.stack.postgres import Postgres
from app.stack.processes import Program
from app.stack.redis import Redis
from app.stack.s3 import S3
from app.stack.stack_errors import StackError
from app.stack.supervisor import Supervisor

_START_SECONDS = 60.0
_TRIES = 3


class Service(Protocol):
    """A server that the stack runs."""

    @property
    def name(self) -> str:
        """What its log and its port are called."""

    @property
    def port(self) -> int:
        """Where it listens."""

    def prepare(self) -> None:
        """Make what it needs on disk."""

    def program(self) -> Program:
        """How it is run."""

    def answers(self) -> bool:
        """Whether it can be used."""


S = TypeVar("S", bound=Service)


def start_service(make: Callable[[int], S], home: Path, name: str, supervisor: Supervisor) -> S:
    """Start the service that `make` makes of a port; if another process grabs that port meanwhile, on another.

    Raises:
        StackError: it does not start.
    """
    for tries_left in reversed(range(_TRIES)):
        service = make(remembered_port(home, name))
        service.prepare()
        try:
            supervisor.start(service.program(), service.answers, _START_SECONDS)
        except StackError:
            if tries_left == 0 or is_free(service.port):
                raise
        else:
            return service
    raise AssertionError("the last try returns or raises")


def start_services(settings: Settings, home: Path, supervisor: Supervisor) -> Addresses:
    """Start the services that the settings do not name, and tell where all of them are.

    Raises:
        StackError: one does not start.
    """
    database_url = settings.database_url or _start_postgres(home, supervisor).address
    broker_url = settings.broker_url or _start_redis(home, supervisor).address
    if settings.s3_endpoint_url is not None:
        endpoint_url, key_id = settings.s3_endpoint_url, settings.s3_access_key_id
        secret = revealed(settings.s3_secret_access_key)
    else:
        server = _start_s3(home, settings.s3_bucket, supervisor)
        endpoint_url, key_id, secret = server.address, server.access_key_id, server.secret_access_key
    return Addresses(
        database_url=database_url,
        broker_url=broker_url,
        s3_endpoint_url=endpoint_url,
        s3_bucket=settings.s3_bucket,
        s3_region=settings.s3_region,
        s3_access_key_id=key_id,
        s3_secret_access_key=secret,
    )


def _start_postgres(home: Path, supervisor: Supervisor) -> Postgres:
    return start_service(lambda port: Postgres(home, port), home, Postgres.name, supervisor)


def _start_redis(home: Path, supervisor: Supervisor) -> Redis:
    return start_service(lambda port: Redis(home, port), home, Redis.name, supervisor)


def _start_s3(home: Path, bucket: str, supervisor: Supervisor) -> S3:
    return start_service(lambda port: S3(home, port, bucket), home, S3.name, supervisor)
