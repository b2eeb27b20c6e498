"""Requests that no client library would send: in parts, slowly, or never to their end."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.hostile.place import Place


class Sender:
    """A connection on which a request is sent part by part."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, data: bytes) -> bool:
        """Send; False when the server has closed the connection."""
        try:
            self._connection.sendall(data)
        except OSError:
            return False
        return True

    def status(self, seconds: float = 60.0) -> int:
        """The status of the answer, once it is there; 0 when the connection ends without one."""
        self._connection.settimeout(seconds)
        data = b""
        try:
            while b"\r\n" not in data:
                part = self._connection.recv(65536)
                if not part:
                    return 0
                data += part
        except ConnectionError:
            return 0
        return int(data.split()[1])


@contextmanager
def sending(api: Place, request: httpx.Request, size: int | None = None) -> Iterator[Sender]:
    """The connection after the request's head was sent, and nothing of its body; `size` is said to be the body's."""
    address = httpx.URL(api.url)
    lines = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1", "Host: x"]
    given = {name: value for name, value in request.headers.items() if name.lower() not in ("host", "content-length")}
    lines += [f"{name}: {value}" for name, value in given.items()]
    lines += ["Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}", "", ""]
    with socket.create_connection((address.host, address.port or 80)) as connection:
        connection.sendall("\r\n".join(lines).encode())
        yield Sender(connection)
