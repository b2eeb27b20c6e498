"""Engines and transactions: one transaction per request (async) or per step of a task (sync).

Every session has limits (`Patience`). They are told to Postgres as a connection begins; behind a pooler, which lends
one connection to many, as each transaction begins (docs/decisions/0016).
"""

import select
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

from psycopg import BaseConnection
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from app.domain.patience import Patience

POOL_SIZE = 8
MAX_CONNECTIONS = 24

# Errors hide the parameters of their statement: one may be a prompt, and errors are logged.
_POOL_OPTIONS = {"pool_size": POOL_SIZE, "max_overflow": MAX_CONNECTIONS - POOL_SIZE, "hide_parameters": True}

# A server that has vanished without a word is given up after half a minute, on either side.
_CONNECTION = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}

WORKERS = Patience()

_is_open: ContextVar[bool] = ContextVar("_is_open", default=False)


class NestedTransactionError(RuntimeError):
    """A task opens a second transaction while it holds one: it could wait for what its own first one has locked."""


def make_engine(database_url: str, patience: Patience = WORKERS, *, pooler: bool = False) -> Engine:
    """The engine of the worker, the sweeper and the tools."""
    engine = create_engine(database_url, connect_args=connection_options(patience, pooler), **_POOL_OPTIONS)
    _prepare(engine, patience, pooler)
    return engine


def make_async_engine(database_url: str, patience: Patience, *, pooler: bool = False) -> AsyncEngine:
    """The front end's engine."""
    engine = create_async_engine(database_url, connect_args=connection_options(patience, pooler), **_POOL_OPTIONS)
    _prepare(engine.sync_engine, patience, pooler)
    return engine


def connection_options(patience: Patience, pooler: bool) -> dict[str, Any]:
    """What a new connection is given."""
    if pooler:
        # A pooler refuses options that it does not know, and another client may hold the prepared statement's session.
        return {**_CONNECTION, "prepare_threshold": None}
    options = patience.settings() | {"tcp_keepalives_idle": 10}
    return {**_CONNECTION, "options": " ".join(f"-c {name}={value}" for name, value in options.items())}


def local_limits(patience: Patience) -> str:
    """The statements that limit one transaction."""
    return "; ".join(f"SET LOCAL {name} = {value}" for name, value in patience.settings().items())


def _prepare(engine: Engine, patience: Patience, pooler: bool) -> None:
    event.listen(engine, "checkout", _insist_on_quiet)
    if pooler:
        limits = local_limits(patience)

        def limit(connection: Connection) -> None:
            connection.exec_driver_sql(limits)

        event.listen(engine, "begin", limit)


def _insist_on_quiet(connection: Any, *_: object) -> None:
    """Replace an idle connection that the server has ended, rather than fail the next request with it."""
    if has_ended(getattr(connection, "driver_connection", connection)):
        raise DisconnectionError("The server has ended the connection.")


def has_ended(connection: BaseConnection[Any]) -> bool:
    """Whether the server has ended an idle connection.

    A server that goes away says so: the socket has something to read. So nothing needs to be asked.
    """
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A session that commits when the block ends, and rolls back when it raises; rows stay readable after it."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@asynccontextmanager
async def async_transaction(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """The same for the front end, where a task has one at a time.

    Raises:
        NestedTransactionError: it has one already.
    """
    if _is_open.get():
        raise NestedTransactionError
    token = _is_open.set(True)
    try:
        async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
            yield session
    finally:
        _is_open.reset(token)
