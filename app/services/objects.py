"""Objects as the front end writes and reads them: pending rows, puts, then live; or nothing at all."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import BinaryIO

from anyio import CancelScope, to_thread
from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.objects import published
from app.db.session import async_transaction
from app.db.tables import ObjectStatus, StoredObject
from app.domain.errors import StorageError
from app.services.context import Services


class Storing:
    """Objects that a request puts before the transaction that names them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.rows: list[StoredObject] = []

    async def put(self, row: StoredObject, data: bytes | BinaryIO) -> None:
        """Put one more, under a pending row of its own.

        Raises:
            StorageError: S3 failed.
        """
        self.rows.append(row)
        async with async_transaction(self._services.engine) as session:
            session.add(row)
        await to_thread.run_sync(self._services.store.put, row, data)


@asynccontextmanager
async def storing(services: Services) -> AsyncIterator[Storing]:
    """Objects to put for the transactions within the block; when it raises, those that none has named are taken away.

    It stands around transactions and never in one: what is cleaned up may be locked by the transaction that failed, and
    would wait for its end. A process that dies on the way leaves pending rows, which the sweeper collects.
    """
    objects = Storing(services)
    try:
        yield objects
    except BaseException:
        with CancelScope(shield=True):
            await _discard(services, objects.rows)
        raise


async def make_live(session: AsyncSession, rows: Sequence[StoredObject]) -> None:
    """Publish pending objects, within the transaction that names them.

    Raises:
        StorageError: one of them was collected meanwhile.
    """
    ids = [row.id for row in rows]
    if len((await session.scalars(published(ids))).all()) != len(ids):
        raise StorageError("An object was collected before it could be published.")


async def _discard(services: Services, rows: Sequence[StoredObject]) -> None:
    """First the rows, and of those only what is pending: a commit may have succeeded whose answer was lost.

    Where Postgres or S3 is out of reach, the sweeper finds what is left.
    """
    if not rows:
        return
    pending = delete(StoredObject).where(
        StoredObject.id.in_([row.id for row in rows]), StoredObject.status == ObjectStatus.PENDING
    )
    with suppress(StorageError, SQLAlchemyError):
        async with async_transaction(services.engine) as session:
            keys = (await session.scalars(pending.returning(StoredObject.key))).all()
        await to_thread.run_sync(services.store.delete, keys)
