"""Engines and transactions: one transaction per request (async) or per step of a task (sync)."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

# Connections that a restart of Postgres has cut are replaced instead of failing the next request.
# Errors hide the parameters of their statement: one may be a prompt, and errors are logged.
_POOL_OPTIONS = {"pool_pre_ping": True, "pool_size": 8, "max_overflow": 16, "hide_parameters": True}

# A server that has vanished without a word is given up after half a minute, on either side.
_CONNECTION = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}

# A worker that freezes within a transaction would hold its locks, and with them the job, past its lease.
_WORKER_SESSION = {"options": "-c idle_in_transaction_session_timeout=30s -c tcp_keepalives_idle=10"}


def make_engine(database_url: str) -> Engine:
    """The engine of the worker, the sweeper and the tools."""
    return create_engine(database_url, connect_args=_CONNECTION | _WORKER_SESSION, **_POOL_OPTIONS)


def make_async_engine(database_url: str) -> AsyncEngine:
    """The front end's engine; a request may hold its transaction while it puts uploads into S3."""
    return create_async_engine(database_url, connect_args=_CONNECTION, **_POOL_OPTIONS)


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A session that commits when the block ends, and rolls back when it raises; rows stay readable after it."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@asynccontextmanager
async def async_transaction(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """The same for the front end."""
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        yield session
