"""What the use cases work with: the process's means, and one request's transaction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from anyio import CapacityLimiter, to_thread
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.db.looks import Looks
from app.db.session import MAX_CONNECTIONS, async_transaction, make_async_engine
from app.domain.errors import NotReadyError
from app.domain.jobs import JobKind
from app.metrics.backends import watch_pool
from app.queue import WakeUps
from app.services.health import HealthWatch
from app.services.pacing import Paces
from app.services.turns import Turns
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
class Gates:
    """What a process does at once for all its users, and for one of them: nobody's share is another's wait."""

    # Each a connection to Postgres; a third of the pool is the most that one user can have.
    work: Turns = field(default_factory=lambda: Turns(MAX_CONNECTIONS, each=MAX_CONNECTIONS // 3))
    # JSON bodies, read into memory, of up to a mebibyte each.
    bodies: Turns = field(default_factory=lambda: Turns(64, each=8))
    # Forms of pictures, and adapters, which lie on disk while they are read.
    forms: Turns = field(default_factory=lambda: Turns(8, each=2))
    adapters: Turns = field(default_factory=lambda: Turns(4, each=1))
    # A hostile picture takes some 200 MB: one at a time, picture by picture.
    decoding: Turns = field(default_factory=lambda: Turns(1, each=1))
    # Files that are fetched from S3 and sent.
    downloads: Turns = field(default_factory=lambda: Turns(24, each=4))
    # An export holds a whole chain of adapters in memory, which may be gigabytes: one at a time.
    exports: Turns = field(default_factory=lambda: Turns(1, each=1))


@dataclass(frozen=True)
class Services:
    """The means of one process of the front end."""

    settings: Settings
    engine: AsyncEngine
    looks: Looks
    paces: Paces
    store: ObjectStore
    wake_ups: WakeUps
    bell: Bell
    health: HealthWatch
    gates: Gates = field(default_factory=Gates)


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Connect to everything that the settings name.

    Raises:
        NotReadyError: the settings lack an address.
    """
    if settings.database_url is None or settings.broker_url is None:
        raise NotReadyError("DATABASE_URL and BROKER_URL must be set; `palimpsest up` sets them.")
    wake_ups = WakeUps(settings.broker_url)
    address, patience, pooler = settings.database_url, settings.api_patience, settings.database_pooler
    looks, store = Looks(address, patience, pooler=pooler), ObjectStore(settings)
    services = Services(
        settings=settings,
        engine=make_async_engine(address, patience, pooler=pooler),
        looks=looks,
        paces=Paces(settings, looks),
        store=store,
        wake_ups=wake_ups,
        bell=Bell(wake_ups),
        health=HealthWatch(looks, store, wake_ups),
    )
    watch_pool(services.engine.pool)
    watch = None if settings.metrics_port is None else asyncio.create_task(services.health.keep_looking())
    try:
        yield services
    finally:
        if watch is not None:
            watch.cancel()
        await services.bell.close()
        await services.engine.dispose()
        await services.looks.close()


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
async def open_work(services: Services, user_id: UUID) -> AsyncIterator[Work]:
    """A transaction of the user's that commits at the end of the block. It takes a connection at its first query."""
    async with services.gates.work.turn(user_id), async_transaction(services.engine) as session:
        work = Work(services, session)
        yield work
    for kind in work._to_wake:
        services.bell.ring(kind)
