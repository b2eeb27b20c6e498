"""A request to stop, made by a signal. It is looked at between two steps, so that no child is lost half started."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class StopRequest:
    """Whether someone asked to stop.

    A plain flag: a handler that sets a `threading.Event` can wait for a lock that the code it interrupts holds.
    """

    made: bool = False


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Until the block ends, SIGINT, SIGTERM and SIGHUP only make the request, however often they come."""
    request = StopRequest()

    def note(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        request.made = True

    previous = {signum: signal.signal(signum, note) for signum in _STOPPING}
    try:
        yield request
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
