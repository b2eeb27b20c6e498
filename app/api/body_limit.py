"""Refuses bodies that are too large: before reading where they say their length, else while they stream in."""

from collections.abc import Mapping

from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import answer, problem_of

MAX_JSON_BYTES = 1024 * 1024


class BodyLimitMiddleware:
    """A limit for multipart bodies, which spill to disk, and a lower one for all others, which do not.

    `by_ending` has other limits for the multipart bodies of paths that end so.
    """

    def __init__(self, app: ASGIApp, max_multipart_bytes: int, by_ending: Mapping[str, int]) -> None:
        self._app = app
        self._max_multipart_bytes = max_multipart_bytes
        self._by_ending = by_ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_multipart = headers.get("content-type", "").startswith("multipart/")
        limit = self._multipart_limit(scope) if is_multipart else min(MAX_JSON_BYTES, self._max_multipart_bytes)
        detail = f"The body is larger than {limit:,} bytes."
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > limit:
            await answer(problem_of(413, detail, Request(scope).url.path))(scope, receive, send)
            return
        await self._app(scope, _Counted(receive, limit, detail), send)

    def _multipart_limit(self, scope: Scope) -> int:
        own = (limit for ending, limit in self._by_ending.items() if scope["path"].endswith(ending))
        return next(own, self._max_multipart_bytes)


class _Counted:
    """A `receive` that counts; what reads the body gets the error, and so the caller its answer."""

    def __init__(self, receive: Receive, limit: int, detail: str) -> None:
        self._receive = receive
        self._left = limit
        self._detail = detail

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(413, self._detail)
        return message
