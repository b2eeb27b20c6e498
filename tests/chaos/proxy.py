"""A TCP proxy before the S3 server that can refuse, dawdle, or fall silent."""

import asyncio
import threading
from contextlib import suppress
from enum import StrEnum

_CHUNK_BYTES = 65536
_SLOW_SECONDS = 0.3
_LOOK_SECONDS = 0.05
_REFUSAL = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Mood(StrEnum):
    """How it treats requests."""

    WELL = "well"
    ERRORS = "errors"
    SLOW = "slow"
    SILENT = "silent"


class Proxy:
    """Listens on a port of its own until `close`; `mood` may be set at any time, also for what is under way."""

    def __init__(self, upstream_port: int) -> None:
        self.mood = Mood.WELL
        self._upstream_port = upstream_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="s3-proxy", daemon=True)
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop listening, and drop what is under way."""
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(timeout=10)

    def _stop(self) -> None:
        self._server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.call_soon(self._loop.stop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            if self.mood is Mood.ERRORS:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(_REFUSAL)
                await writer.drain()
            else:
                await self._forward(reader, writer)
        writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        ways = [self._pump(reader, upstream_writer), self._pump(upstream_reader, writer)]
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            upstream_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                if self.mood is Mood.ERRORS:
                    return
                if self.mood is Mood.SLOW:
                    await asyncio.sleep(_SLOW_SECONDS)
                while self.mood is Mood.SILENT:
                    await asyncio.sleep(_LOOK_SECONDS)
                writer.write(data)
                await writer.drain()
