"""What could not be done is set aside for a while, so that it holds up nothing else."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

_FIRST_SECONDS = 30.0
_LONGEST_SECONDS = 3600.0


@dataclass
class Aside:
    """Things that failed, each with the time of its next try: later after every failure, up to an hour."""

    clock: Callable[[], float] = time.monotonic
    _tries: dict[Hashable, tuple[int, float]] = field(default_factory=dict)

    def has(self, thing: Hashable) -> bool:
        """Whether it is not yet to be tried again."""
        return thing in self._tries and self.clock() < self._tries[thing][1]

    def put(self, thing: Hashable) -> float:
        """It failed; in how many seconds it is to be tried again."""
        count = self._tries.get(thing, (0, 0.0))[0]
        seconds = min(_FIRST_SECONDS * 2.0 ** min(count, 16), _LONGEST_SECONDS)
        self._tries[thing] = (count + 1, self.clock() + seconds)
        return seconds

    def forget(self, thing: Hashable) -> None:
        """It succeeded."""
        self._tries.pop(thing, None)
