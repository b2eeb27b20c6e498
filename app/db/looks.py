"""Looks: single statements, each a transaction of its own, at a fraction of what a session costs.

SQLAlchemy compiles a query once, and the driver runs it. The connections are few and apart from the others, so that who
waits for a lock keeps nobody from being let in.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Generic, TypeVarTuple

from psycopg import AsyncConnection, OperationalError
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.selectable import TypedReturnsRows

from app.db.session import connection_options, has_ended, local_limits
from app.domain.patience import Patience

Ts = TypeVarTuple("Ts")

_CONNECTIONS = 6
_WAIT_SECONDS = 4.0
_DIALECT: Any = PGDialect_psycopg()  # type: ignore[no-untyped-call]
# Numbers are asked by which type the server sent them: `double precision` is the only one here.
_FLOAT8 = 701


class Look(Generic[*Ts]):
    """A statement, compiled once. It gives columns, not entities; its parameters are `bindparam`s."""

    def __init__(self, query: TypedReturnsRows[*Ts]) -> None:
        compiled = query.compile(dialect=_DIALECT)
        self.sql = str(compiled)
        as_sent: Any = compiled._bind_processors
        self.constants = {
            name: as_sent[name](value) if name in as_sent else value
            for name, value in compiled.params.items()
            if value is not None
        }
        self._as_read = [column.type._cached_result_processor(_DIALECT, _FLOAT8) for column in query.exported_columns]

    def read(self, row: tuple[Any, ...]) -> tuple[*Ts]:
        """The row in the types of the query."""
        pairs = zip(row, self._as_read, strict=True)
        read: tuple[*Ts] = tuple([value if process is None else process(value) for value, process in pairs])
        return read


class Looks:
    """The connections. A look waits for a free one, and fails as any statement does when Postgres is away."""

    def __init__(self, database_url: str, patience: Patience, *, pooler: bool = False) -> None:
        words, options = _DIALECT.create_connect_args(make_url(database_url))
        self._words, self._options = words, {**options, **connection_options(patience, pooler)}
        self._limits = local_limits(patience) if pooler else None
        self._free = asyncio.Semaphore(_CONNECTIONS)
        self._idle: list[AsyncConnection[tuple[Any, ...]]] = []

    async def one(self, look: Look[*Ts], **parameters: object) -> tuple[*Ts] | None:
        """The only row that there is, if there is one.

        Raises:
            psycopg.OperationalError: Postgres is out of reach, or too busy.
        """
        rows = await self.all(look, **parameters)
        return rows[0] if rows else None

    async def all(self, look: Look[*Ts], **parameters: object) -> list[tuple[*Ts]]:
        """All rows.

        Raises:
            psycopg.OperationalError: Postgres is out of reach, or too busy.
        """
        async with self._connection() as connection:
            cursor = await connection.execute(look.sql, {**look.constants, **parameters})
            rows = await cursor.fetchall()
        return [look.read(row) for row in rows]

    async def close(self) -> None:
        """Give back what is idle."""
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection[tuple[Any, ...]]]:
        try:
            await asyncio.wait_for(self._free.acquire(), _WAIT_SECONDS)
        except TimeoutError as error:
            raise OperationalError("all connections for looks are in use") from error
        try:
            connection = await self._lent()
            async with AsyncExitStack() as stack:
                if self._limits is not None:
                    await stack.enter_async_context(connection.transaction())
                    await connection.execute(self._limits)
                yield connection
            self._idle.append(connection)
        finally:
            self._free.release()

    async def _lent(self) -> AsyncConnection[tuple[Any, ...]]:
        while self._idle:
            connection = self._idle.pop()
            if not has_ended(connection):
                return connection
            await connection.close()
        return await AsyncConnection.connect(*self._words, **self._options, autocommit=True)
