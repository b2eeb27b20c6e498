"""Objects as the front end writes and reads them: pending rows, puts, then live; or nothing at all."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import BinaryIO

from anyio import to_thread
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.objects import published
from app.db.session import async_transaction
from app.db.tables import StoredObject
from app.domain.errors import StorageError
from app.services.context import Services


@asynccontextmanager
async def stored(
    services: Services, rows: Sequence[StoredObject], contents: Sequence[bytes | BinaryIO]
) -> AsyncIterator[Sequence[StoredObject]]:
    """Put these objects, for the block to name; when it raises, rows and objects are taken away again.

    A process that dies on the way leaves pending rows, which the sweeper collects.

    Raises:
        StorageError: S3 failed.
    """
    async with async_transaction(services.engine) as session:
        session.add_all(rows)
    try:
        for row, data in zip(rows, contents, strict=True):
            await to_thread.run_sync(services.store.put, row, data)
        yield rows
    except BaseException:
        await _discard(services, rows)
        raise


async def make_live(session: AsyncSession, rows: Sequence[StoredObject]) -> None:
    """Publish pending objects, within the transaction that names them.

    Raises:
        StorageError: one of them was collected meanwhile.
    """
    ids = [row.id for row in rows]
    if len((await session.scalars(published(ids))).all()) != len(ids):
        raise StorageError("An object was collected before it could be published.")


async def read_object(services: Services, row: StoredObject) -> bytes:
    """The bytes of an object, proved by their hash.

    Raises:
        StorageError: S3 failed.
    """
    return await to_thread.run_sync(services.store.get, row)


async def _discard(services: Services, rows: Sequence[StoredObject]) -> None:
    # Where S3 is out of reach the pending rows stay, and the sweeper tries again.
    with suppress(StorageError):
        await to_thread.run_sync(services.store.delete, [row.key for row in rows])
        async with async_transaction(services.engine) as session:
            await session.execute(delete(StoredObject).where(StoredObject.id.in_([row.id for row in rows])))
