"""A stand-in for PgBouncer's manner with session options, before a real Postgres: it refuses or drops them."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_ENCRYPTION_REQUESTS = (80877103, 80877104)
_REFUSAL = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: options\0\0"


@contextmanager
def pooler(upstream_port: int, *, refuses: bool) -> Iterator[int]:
    """Its port, while it runs; what it does not refuse reaches the server without the options."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=_serve_client, args=(client, upstream_port, refuses), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _serve_client(client: socket.socket, upstream_port: int, refuses: bool) -> None:
    with client, suppress(OSError):
        body = _read_packet(client)
        while int.from_bytes(body[:4], "big") in _ENCRYPTION_REQUESTS:
            client.sendall(b"N")
            body = _read_packet(client)
        words = body[4:].split(b"\0")
        parameters = dict(zip(words[::2], words[1::2], strict=False))
        if refuses and b"options" in parameters:
            client.sendall(b"E" + (4 + len(_REFUSAL)).to_bytes(4, "big") + _REFUSAL)
            return
        parameters.pop(b"options", None)
        kept = b"".join(name + b"\0" + value + b"\0" for name, value in parameters.items() if name) + b"\0"
        with socket.create_connection(("127.0.0.1", upstream_port)) as server:
            server.sendall((8 + len(kept)).to_bytes(4, "big") + body[:4] + kept)
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _read_packet(client: socket.socket) -> bytes:
    length = int.from_bytes(client.recv(4, socket.MSG_WAITALL), "big")
    return client.recv(length - 4, socket.MSG_WAITALL)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
