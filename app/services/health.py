"""Whether the services that the front end needs answer."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass

from anyio import to_thread
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.db.session import async_transaction
from app.services.context import Services

log = logging.getLogger(__name__)

# Shorter than the patience of who asks, or the answer comes too late.
_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class Health:
    """What answers. Without the broker jobs are still accepted: the sweeper wakes the workers later."""

    postgres: bool
    storage: bool
    broker: bool


async def check_health(services: Services) -> Health:
    """Ask all of them at once; who is silent too long counts as down."""
    async with asyncio.TaskGroup() as group:
        postgres = group.create_task(_answers(_postgres(services)))
        storage = group.create_task(_answers(to_thread.run_sync(services.store.is_ready, abandon_on_cancel=True)))
        broker = group.create_task(_answers(to_thread.run_sync(services.wake_ups.is_ready, abandon_on_cancel=True)))
    return Health(postgres.result(), storage.result(), broker.result())


async def _answers(check: Awaitable[bool]) -> bool:
    try:
        return await asyncio.wait_for(check, _PATIENCE_SECONDS)
    except TimeoutError:
        return False


async def _postgres(services: Services) -> bool:
    try:
        async with async_transaction(services.engine) as session:
            await session.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError) as error:
        log.warning("Postgres is out of reach: %s", error)
        return False
    return True
