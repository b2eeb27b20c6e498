"""Waiting for a condition, with a deadline."""

import http.client
import time
from collections.abc import Callable

Condition = Callable[[], bool]

_SHORTEST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.2


def becomes_true(condition: Condition, timeout_seconds: float) -> bool:
    """Whether the condition holds before the time is up; asked ever less often, and at least twice."""
    deadline = time.monotonic() + timeout_seconds
    pause = _SHORTEST_PAUSE_SECONDS
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    return condition()


def http_status(host: str, port: int, path: str) -> int | None:
    """The status that a plain GET is answered with; None if there is no answer. Never through a proxy."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
