"""Answers that are files: stored objects, and what is made of them. They never change, so their hash is their ETag.

A file lies on disk, its hash checked, before its first byte is sent; then it is sent no faster than its reader reads.
So a slow reader holds neither memory nor S3, and a slow store no connection to Postgres. Users take turns.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import IO
from uuid import UUID

from anyio import to_thread
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from app.db.tables import StoredObject
from app.services.context import Services

# A deleted picture must vanish at once: caches may keep it, but have to ask.
_CACHE = "private, no-cache"

# Smaller files stay in memory.
_SPOOL_BYTES = 256 * 1024
_CHUNK_BYTES = 64 * 1024
_PATIENCE_SECONDS = 60.0


def is_known(request: Request, etag: str) -> bool:
    """Whether the caller says that it has this already (RFC 9110, section 13.1.2: the comparison is weak)."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag in known or "*" in known


async def file_response(request: Request, services: Services, user_id: UUID, row: StoredObject) -> Response:
    """The object, or 304 when the caller has it.

    Raises:
        StorageError: S3 failed.
    """
    headers = {"ETag": f'"{row.sha256}"', "Cache-Control": _CACHE}
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(services.gates.downloads.turn(user_id))
        file: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 - the answer closes it
        stack.callback(file.close)
        await to_thread.run_sync(services.store.fetch, row, file)
        return FileResponse(file, row.size_bytes, row.content_type, headers, stack.pop_all())


class FileResponse(Response):
    """An answer that is a file on disk; what `held` holds is let go once it is sent."""

    def __init__(
        self, file: IO[bytes], size_bytes: int, media_type: str, headers: Mapping[str, str], held: AsyncExitStack
    ) -> None:
        super().__init__(None, headers={**headers, "Content-Length": str(size_bytes)}, media_type=media_type)
        self._file = file
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it; a reader who takes nothing for a minute gets no more."""
        async with self._held:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            self._file.seek(0)
            try:
                while chunk := await to_thread.run_sync(self._file.read, _CHUNK_BYTES):
                    async with asyncio.timeout(_PATIENCE_SECONDS):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except TimeoutError:
                return  # The server closes the connection, as the answer has no end.
            await send({"type": "http.response.body", "body": b""})
