"""Where histories happen: the real services, the use cases as routes call them, and the rows as they are."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, func, text, update

from app.db.session import make_engine, transaction
from app.db.tables import BaseModelRow, Concept, ConceptImage, Job, ObjectStatus, User
from app.domain.base_models import BaseModelManifest, Family
from app.domain.concepts import ConceptKind
from app.domain.errors import PalimpsestError
from app.domain.training import TrainingOverrides
from app.queue import WakeUps
from app.services.context import Services, Work, open_services, open_work
from app.settings import Settings
from app.storage import ObjectStore, describe_object
from sweeper.sweeper import Sweeper
from tests.integration.worker.world import picture

# More tokens than a history can use up.
BASE = BaseModelManifest(
    name="none",
    family=Family.SD,
    resolution=64,
    rare_tokens=tuple(f"tok{number}" for number in range(100)),
    training_defaults=TrainingOverrides(steps=8),
)
# Nothing expires or ripens by itself within a history: the test moves the times in the rows.
_LONG = 3600.0

_numbers = itertools.count()
_SOMEBODY = uuid4()

Row = tuple[object, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """One database for many histories; each has users of its own."""

    settings: Settings
    engine: Engine
    store: ObjectStore
    sweeper: Sweeper
    admin_id: UUID
    _services: Services
    _loop: asyncio.Runner
    _eye: Connection

    def ask(self, act: Callable[[Work], Awaitable[T]]) -> T | type[PalimpsestError]:
        """One request's transaction: its answer, or how it was refused."""

        async def request() -> T:
            async with open_work(self._services, _SOMEBODY) as work:
                return await act(work)

        try:
            return self._loop.run(request())
        except PalimpsestError as error:
            return type(error)

    def new_user(self) -> UUID:
        """A user with nothing."""
        with transaction(self.engine) as session:
            user = User(name=f"user-{next(_numbers)}")
            session.add(user)
        return user.id

    def new_concept(self, user_id: UUID) -> UUID:
        """A concept of one image, under a name of its own."""
        data = picture(0)
        row = describe_object(user_id, "images", data, "image/png")
        row.status = ObjectStatus.LIVE
        self.store.put(row, data)
        with transaction(self.engine) as session:
            name = f"c{next(_numbers)}"
            concept = Concept(user_id=user_id, name=name, kind=ConceptKind.STYLE, class_noun=None)
            session.add_all([row, concept])
            session.flush()
            session.add(ConceptImage(concept_id=concept.id, position=0, object_id=row.id, width=64, height=64))
        return concept.id

    def expire(self, job_id: UUID) -> None:
        """Let the time of a job's lease be over."""
        self._set(job_id, lease_expires_at=func.clock_timestamp() - timedelta(seconds=1))

    def ripen(self, job_id: UUID) -> None:
        """Let the time of a job's backoff be over."""
        self._set(job_id, not_before=func.clock_timestamp() - timedelta(seconds=1))

    def _set(self, job_id: UUID, **values: object) -> None:
        with transaction(self.engine) as session:
            session.execute(update(Job).where(Job.id == job_id).values(**values))

    def clear(self) -> None:
        """Remove what a history has left that broke a rule, so that it is told of as the same each time it is tried."""
        self._eye.execute(text("DELETE FROM users WHERE NOT is_admin"))
        self._eye.execute(text("UPDATE objects SET status = 'dead'"))

    def rows(self, query: str, user_ids: list[UUID]) -> list[Row]:
        """What a query finds of these users."""
        return [tuple(row) for row in self._eye.execute(text(query), {"users": user_ids})]


@contextmanager
def open_place(settings: Settings) -> Iterator[Place]:
    """On migrated, empty services."""
    changes = {
        "lease_seconds": _LONG,
        "retry_backoff_seconds": _LONG,
        "max_failures": 3,
        "stray_object_age_seconds": 0.0,
        "torch_threads": 1,
    }
    settings = settings.model_copy(update=changes)
    assert settings.database_url is not None
    assert settings.broker_url is not None
    engine, store = make_engine(settings.database_url), ObjectStore(settings)
    with engine.connect() as connection:
        # Nothing is killed here: commits need not wait for the disk.
        connection.execute(
            text(
                "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END$$"
            )
        )
        connection.commit()
    engine.dispose()
    with transaction(engine) as session:
        admin = User(name="admin", is_admin=True)
        session.add_all([admin, BaseModelRow(name=BASE.name, source="nowhere", manifest=BASE)])
    with asyncio.Runner() as loop, engine.execution_options(isolation_level="AUTOCOMMIT").connect() as eye:
        stack = AsyncExitStack()
        services = loop.run(stack.enter_async_context(open_services(settings)))
        sweeper = Sweeper(settings, engine, store, WakeUps(settings.broker_url))
        yield Place(settings, engine, store, sweeper, admin.id, services, loop, eye)
        loop.run(stack.aclose())
    engine.dispose()
