"""Whether the services that the front end needs answer."""

import asyncio
import logging
import time
from collections.abc import Awaitable
from dataclasses import asdict, dataclass

from anyio import to_thread
from psycopg import Error as PostgresError
from sqlalchemy import literal, select

from app.db.looks import Look, Looks
from app.metrics.backends import DEPENDENCY_UP
from app.queue import WakeUps
from app.storage import ObjectStore

log = logging.getLogger(__name__)

# Shorter than the patience of who asks, or the answer comes too late.
_PATIENCE_SECONDS = 2.0
_FRESH_SECONDS = 1.0
_LOOK_SECONDS = 10.0
_ANYTHING = Look(select(literal(1)))


@dataclass(frozen=True)
class Health:
    """What answers. Without the broker jobs are still accepted: the sweeper wakes the workers later."""

    postgres: bool
    storage: bool
    broker: bool


class HealthWatch:
    """Asks the services for who wants to know, once for all who ask within a moment: `/health/ready` takes no key."""

    def __init__(self, looks: Looks, store: ObjectStore, wake_ups: WakeUps) -> None:
        self._looks = looks
        self._store = store
        self._wake_ups = wake_ups
        self._asking: asyncio.Task[Health] | None = None
        self._fresh_until = 0.0

    async def look(self) -> Health:
        """What answers, or has answered a moment ago."""
        if self._asking is None or (self._asking.done() and time.monotonic() >= self._fresh_until):
            self._asking = asyncio.create_task(self._ask())
        # One caller who leaves must not take the answer from the others.
        return await asyncio.shield(self._asking)

    async def keep_looking(self) -> None:
        """Look every so often until this task is canceled: metrics tell of it although nobody asks."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _ask(self) -> Health:
        """Ask all of them at once; who is silent too long counts as down."""
        async with asyncio.TaskGroup() as group:
            postgres = group.create_task(_answers(_postgres(self._looks)))
            storage = group.create_task(_answers(to_thread.run_sync(self._store.is_ready, abandon_on_cancel=True)))
            broker = group.create_task(_answers(to_thread.run_sync(self._wake_ups.is_ready, abandon_on_cancel=True)))
        self._fresh_until = time.monotonic() + _FRESH_SECONDS
        health = Health(postgres.result(), storage.result(), broker.result())
        for service, answers in asdict(health).items():
            DEPENDENCY_UP.labels(service).set(answers)
        return health


async def _answers(check: Awaitable[bool]) -> bool:
    try:
        return await asyncio.wait_for(check, _PATIENCE_SECONDS)
    except TimeoutError:
        return False


async def _postgres(looks: Looks) -> bool:
    try:
        await looks.one(_ANYTHING)
    except (PostgresError, OSError) as error:
        log.warning("Postgres is out of reach: %s", error)
        return False
    return True
