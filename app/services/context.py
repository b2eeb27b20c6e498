"""What the use cases work with: the process's means, and one request's transaction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from anyio import CapacityLimiter, to_thread
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.db.session import async_transaction, make_async_engine
from app.domain.errors import NotReadyError
from app.domain.jobs import JobKind
from app.metrics.backends import watch_pool
from app.queue import WakeUps
from app.services.health import HealthWatch
from app.settings import Settings
from app.storage import ObjectStore

_SENDING_THREADS = 2
_MAX_UNSENT = 100
_LAST_CALL_SECONDS = 2.0


class Bell:
    """Sends wake-ups beside the requests, so that a broker which hangs delays no answer."""

    def __init__(self, wake_ups: WakeUps) -> None:
        self._wake_ups = wake_ups
        self._limiter = CapacityLimiter(_SENDING_THREADS)
        self._unsent: set[asyncio.Task[bool]] = set()

    def ring(self, kind: JobKind) -> None:
        """Advise a worker to look; with too many unsent the advice is dropped, and left to the sweeper."""
        if len(self._unsent) < _MAX_UNSENT:
            task = asyncio.create_task(self._send(kind))
            self._unsent.add(task)
            task.add_done_callback(self._unsent.discard)

    async def _send(self, kind: JobKind) -> bool:
        return await to_thread.run_sync(self._wake_ups.send, kind, limiter=self._limiter, abandon_on_cancel=True)

    async def close(self) -> None:
        """Give what is unsent a moment, then drop it."""
        if self._unsent:
            _, late = await asyncio.wait(self._unsent, timeout=_LAST_CALL_SECONDS)
            for task in late:
                task.cancel()


@dataclass(frozen=True)
class Services:
    """The means of one process of the front end."""

    settings: Settings
    engine: AsyncEngine
    store: ObjectStore
    wake_ups: WakeUps
    bell: Bell
    health: HealthWatch
    # An upload holds two connections: few at a time.
    upload_slots: CapacityLimiter
    # A hostile picture takes some 200 MB: one at a time, and uploads take turns picture by picture.
    decoding_slot: CapacityLimiter
    # An export holds a whole chain of adapters in memory, which may be gigabytes: one at a time.
    export_slot: CapacityLimiter


@asynccontextmanager
async def open_services(settings: Settings, uploads_at_once: int = 4) -> AsyncIterator[Services]:
    """Connect to everything that the settings name.

    Raises:
        NotReadyError: the settings lack an address.
    """
    if settings.database_url is None or settings.broker_url is None:
        raise NotReadyError("DATABASE_URL and BROKER_URL must be set; `palimpsest up` sets them.")
    wake_ups = WakeUps(settings.broker_url)
    engine, store = make_async_engine(settings.database_url), ObjectStore(settings)
    services = Services(
        settings=settings,
        engine=engine,
        store=store,
        wake_ups=wake_ups,
        bell=Bell(wake_ups),
        health=HealthWatch(engine, store, wake_ups),
        upload_slots=CapacityLimiter(uploads_at_once),
        decoding_slot=CapacityLimiter(1),
        export_slot=CapacityLimiter(1),
    )
    watch_pool(engine.pool)
    watch = None if settings.metrics_port is None else asyncio.create_task(services.health.keep_looking())
    try:
        yield services
    finally:
        if watch is not None:
            watch.cancel()
        await services.bell.close()
        await services.engine.dispose()


@dataclass(frozen=True)
class Work:
    """One request's transaction, and whom to wake once it is committed."""

    services: Services
    session: AsyncSession
    _to_wake: list[JobKind] = field(default_factory=list)

    def wake(self, kind: JobKind) -> None:
        """Ring for `kind` after the commit; a worker that looked earlier would find nothing."""
        self._to_wake.append(kind)


@asynccontextmanager
async def open_work(services: Services) -> AsyncIterator[Work]:
    """A transaction that commits at the end of the block. It takes a connection only at its first query."""
    async with async_transaction(services.engine) as session:
        work = Work(services, session)
        yield work
    for kind in work._to_wake:
        services.bell.ring(kind)
