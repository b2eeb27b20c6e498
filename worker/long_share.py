"""How much of one worker's time long jobs may take while short ones wait: half of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.domain.jobs import LONG_KINDS, JobKind


class LongShare:
    """After a long job, short ones go first for as long as that took."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._short_until = clock()

    def prefers_short(self) -> bool:
        """Whether short jobs go first now."""
        return self._clock() < self._short_until

    @contextmanager
    def ran(self, kind: JobKind) -> Iterator[None]:
        """Count the block as a run of that kind."""
        began = self._clock()
        try:
            yield
        finally:
            if kind in LONG_KINDS:
                now = self._clock()
                self._short_until = now + (now - began)
