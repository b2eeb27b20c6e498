"""How fast each user asks: GCRA, the leaky bucket of one number (ITU-T I.371, annex A), over all front ends.

A process decides by what it knows, without a statement. What it has let in it tells Postgres a few times a second, in
one statement for all users, and learns there what the others have let in. With Postgres away each goes by itself.
"""

import asyncio
import logging
import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from psycopg import Error as PostgresError
from sqlalchemy import ARRAY, DOUBLE_PRECISION, Uuid, bindparam, cast, column, func, select, text
from sqlalchemy.dialects.postgresql import insert

from app.db.looks import Look, Looks
from app.db.tables import UserPace
from app.domain.errors import RateLimitedError
from app.settings import Settings

_SETTLE_SECONDS = 0.25
_MAX_USERS = 10_000


def _add() -> Look[UUID, float]:
    """Adds up what processes tell, and tells by how many seconds each of these users is ahead of the rate."""
    now = func.statement_timestamp()
    told = func.unnest(bindparam("users", type_=ARRAY(Uuid)), bindparam("seconds", type_=ARRAY(DOUBLE_PRECISION)))
    rows = told.table_valued(column("user_id", Uuid), column("seconds", DOUBLE_PRECISION)).render_derived()
    until = now + rows.c.seconds * text("interval '1 second'")
    add = insert(UserPace).from_select(["user_id", "until"], select(rows.c.user_id, until))
    both = func.greatest(UserPace.until, now) + (add.excluded.until - now)
    ahead = cast(func.extract("epoch", UserPace.until - now), DOUBLE_PRECISION)
    return Look(
        add.on_conflict_do_update(index_elements=[UserPace.user_id], set_={"until": both}).returning(
            UserPace.user_id, ahead
        )
    )


_ADD = _add()

log = logging.getLogger(__name__)


@dataclass
class _Bucket:
    """Up to when a sender that kept to the rate would have sent what this user has; by this process's clock."""

    until: float
    untold: float = 0.0  # seconds of it that Postgres does not know of


class Paces:
    """The paces of the users of one process."""

    def __init__(self, settings: Settings, looks: Looks) -> None:
        self._looks = looks
        self._rate = settings.requests_per_second
        self._burst = settings.requests_burst
        self._buckets: OrderedDict[UUID, _Bucket] = OrderedDict()
        self._refused: OrderedDict[str, UUID] = OrderedDict()
        self._settling: asyncio.Task[None] | None = None

    def insist_on_known(self, key: str) -> None:
        """Refuse at once, without a look at the database, the key of somebody who is known to ask too fast.

        Raises:
            RateLimitedError: it is.
        """
        user_id = self._refused.get(key)
        if user_id is None:
            return
        if (seconds := self._ahead(user_id)) > 0:
            raise self._refusal(seconds)
        del self._refused[key]

    def charge(self, user_id: UUID, key: str, price: float) -> None:
        """Count a request of that price, in plain requests.

        Raises:
            RateLimitedError: the user asks too fast; it is not counted.
        """
        if (seconds := self._ahead(user_id)) > 0:
            self._refused[key] = user_id
            _bound(self._refused)
            raise self._refusal(seconds)
        bucket = self._buckets.setdefault(user_id, _Bucket(0.0))
        self._buckets.move_to_end(user_id)
        _bound(self._buckets)
        cost = price / self._rate
        bucket.until = max(bucket.until, time.monotonic()) + cost
        bucket.untold += cost
        if self._settling is None:
            self._settling = asyncio.create_task(self._settle())

    def _ahead(self, user_id: UUID) -> float:
        """For how many seconds the user is to wait."""
        bucket = self._buckets.get(user_id)
        return 0.0 if bucket is None else bucket.until - time.monotonic() - (self._burst - 1) / self._rate

    def _refusal(self, seconds: float) -> RateLimitedError:
        detail = f"You have sent {self._burst} requests ahead of {self._rate:g} a second."
        return RateLimitedError(detail, retry_after_seconds=max(1, math.ceil(seconds)))

    async def _settle(self) -> None:
        await asyncio.sleep(_SETTLE_SECONDS)
        # From here on another request begins another round.
        self._settling = None
        told = {user_id: bucket.untold for user_id, bucket in self._buckets.items() if bucket.untold > 0}
        for user_id in told:
            self._buckets[user_id].untold = 0.0
        try:
            await self._tell(told)
        except (PostgresError, OSError) as error:
            log.warning("no pace was shared: %s", error)

    async def _tell(self, told: dict[UUID, float]) -> None:
        # In the order of their ids, so that two processes lock in the same order.
        users = sorted(told)
        seconds = [told[user_id] for user_id in users]
        for user_id, ahead in await self._looks.all(_ADD, users=users, seconds=seconds):
            self._learn(user_id, ahead)

    def _learn(self, user_id: UUID, ahead: float) -> None:
        """What all processes have let in; together with what this one has let in since it told of it."""
        if (bucket := self._buckets.get(user_id)) is not None:
            bucket.until = time.monotonic() + max(ahead, 0.0) + bucket.untold


def _bound(entries: OrderedDict[UUID, _Bucket] | OrderedDict[str, UUID]) -> None:
    while len(entries) > _MAX_USERS:
        entries.popitem(last=False)
