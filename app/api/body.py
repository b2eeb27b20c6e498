"""A request's body as it is received: bounded in bytes, and in the time that its sender may take."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope

T = TypeVar("T")

MAX_JSON_BYTES = 1024 * 1024
_GRACE_SECONDS = 10.0


class Body:
    """The `receive` of a request. Its limit is that of a JSON body until the route says that it takes more."""

    def __init__(self, scope: Scope, receive: Receive, min_bytes_per_second: int) -> None:
        declared = Headers(scope=scope).get("content-length", "")
        self._declared = int(declared) if declared.isdigit() else 0
        self._receive = receive
        self._min_bytes_per_second = min_bytes_per_second
        self._limit = MAX_JSON_BYTES
        self._received = 0
        self._waited_seconds = 0.0
        self._is_over = False
        self.is_begun = False

    @property
    def expected_bytes(self) -> int:
        """What the sender says; 0 where it does not."""
        return self._declared

    def allow(self, limit: int) -> None:
        """Take bodies of up to so many bytes."""
        self._limit = limit

    async def receive(self) -> Message:
        """The next message; what reads the body gets the error, and so the caller its answer.

        Raises:
            HTTPException: the body is too large (413), or comes too slowly (408).
        """
        if self._is_over:
            return await self._receive()
        self._insist_on_room(self._declared)
        self.is_begun = True
        message = await self._in_time()
        self._received += len(message.get("body", b""))
        self._is_over = not message.get("more_body", False)
        self._insist_on_room(self._received)
        return message

    async def _in_time(self) -> Message:
        """Only waits for the sender count, not what is done between two of them."""
        allowed = _GRACE_SECONDS + self._received / self._min_bytes_per_second - self._waited_seconds
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(allowed):
                return await self._receive()
        except TimeoutError as error:
            detail = f"The body comes more slowly than {self._min_bytes_per_second:,} bytes a second."
            raise HTTPException(408, detail) from error
        finally:
            self._waited_seconds += clock() - began

    def _insist_on_room(self, size: int) -> None:
        if size > self._limit:
            raise HTTPException(413, f"The body is larger than {self._limit:,} bytes.")


def body_of(request: Request) -> Body:
    """The body of a request that came through the door (`app.api.door`)."""
    body = request.state.body
    assert isinstance(body, Body)
    return body


async def while_present(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What the work gives, which ends when the caller hangs up. For requests whose body is read.

    Raises:
        ClientDisconnect: the caller has.
    """
    task = asyncio.create_task(work)
    absence = asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait({task, absence}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for one in (task, absence):
            one.cancel()
        await asyncio.wait({task, absence})


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
