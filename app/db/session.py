"""Engines and transactions: one transaction per request (async) or per step of a task (sync)."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

# Connections that a restart of Postgres has cut are replaced instead of failing the next request.
_POOL_OPTIONS = {"pool_pre_ping": True, "pool_size": 8, "max_overflow": 16, "connect_args": {"connect_timeout": 5}}


def make_engine(database_url: str) -> Engine:
    """The worker's engine."""
    return create_engine(database_url, **_POOL_OPTIONS)


def make_async_engine(database_url: str) -> AsyncEngine:
    """The front end's engine."""
    return create_async_engine(database_url, **_POOL_OPTIONS)


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
