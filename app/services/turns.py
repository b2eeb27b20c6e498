"""Turns: so many at once, and users take turns, so that who asks for much holds up nobody but themselves."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from app.domain.errors import TooManyAtOnceError


class Turns:
    """`at_once` of all users together, and of one user at most `each`; the others wait, `waiting_each` of a user.

    For one event loop. Among users that wait the one goes first who was last let in the longest ago.
    """

    def __init__(self, at_once: int, each: int, waiting_each: int = 1000) -> None:
        self._free = at_once
        self._each = each
        self._waiting_each = waiting_each
        self._inside: Counter[UUID] = Counter()
        self._waiting: OrderedDict[UUID, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, user_id: UUID) -> AsyncIterator[None]:
        """Wait for the user's turn, and hold it for the block.

        Raises:
            TooManyAtOnceError: too many of the user's wait already.
        """
        if self._free > 0 and self._inside[user_id] < self._each:
            self._let_in(user_id)
        else:
            await self._wait(user_id)
        try:
            yield
        finally:
            self._leave(user_id)

    def _let_in(self, user_id: UUID) -> None:
        self._free -= 1
        self._inside[user_id] += 1

    async def _wait(self, user_id: UUID) -> None:
        queue = self._waiting.setdefault(user_id, deque())
        if len(queue) >= self._waiting_each:
            raise TooManyAtOnceError(f"{len(queue)} of your requests wait for their turn already.")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._leave(user_id)  # It was let in at the moment in which it gave up.
            else:
                self._forget(user_id, turn)
            raise

    def _forget(self, user_id: UUID, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(user_id)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[user_id]

    def _leave(self, user_id: UUID) -> None:
        self._free += 1
        self._inside[user_id] -= 1
        if not self._inside[user_id]:
            del self._inside[user_id]
        while self._free > 0 and (follower := self._next()) is not None:
            self._grant(follower)

    def _next(self) -> UUID | None:
        return next((user_id for user_id in self._waiting if self._inside[user_id] < self._each), None)

    def _grant(self, user_id: UUID) -> None:
        queue = self._waiting[user_id]
        turn = queue.popleft()
        # To the end: the others go before this user's next.
        self._waiting.move_to_end(user_id)
        if not queue:
            del self._waiting[user_id]
        if not turn.done():
            self._let_in(user_id)
            turn.set_result(None)
