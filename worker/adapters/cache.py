"""States of versions that were replayed lately, kept in memory."""

from collections import OrderedDict
from collections.abc import Callable

from worker.adapters.accumulated import LineageState


class UpdateCache:
    """The `capacity` states that were asked for last, by the hash of their chain."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._states: OrderedDict[str, LineageState] = OrderedDict()

    def get(self, key: str, make: Callable[[], LineageState]) -> LineageState:
        """The state of that key, made if it is not there."""
        if key not in self._states:
            self._states[key] = make()
            while len(self._states) > self._capacity:
                self._states.popitem(last=False)
        self._states.move_to_end(key)
        return self._states[key]
