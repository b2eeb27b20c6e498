"""Loopback ports: which are free, and which a service had last time."""

import random
import socket
from pathlib import Path

from app.stack.private_files import private_folder, write_private

# Below the range that Linux (32768..) and macOS (49152..) hand out to outgoing connections: one of those must not sit
# on a service's port when the service comes back after a crash.
_CANDIDATES = range(20_000, 32_000)


def check_port(host: str, port: int) -> None:
    """Prove that a server could listen there now.

    Raises:
        OSError: it could not; EADDRINUSE if another server does.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do, else a port that merely has old connections in TIME_WAIT would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    try:
        check_port(host, port)
    except OSError:
        return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on."""
    return next(port for port in random.sample(_CANDIDATES, len(_CANDIDATES)) if is_free(port, host))


def remembered_port(home: Path, service: str) -> int:
    """The port that the service had last time if it is still free, else another, remembered from now on.

    Stable ports let a worker that was started apart find the stack again after a restart.
    """
    path = private_folder(home / "ports") / service
    if path.exists() and is_free(port := int(path.read_text())):
        return port
    port = free_port()
    write_private(path, str(port))
    return port
