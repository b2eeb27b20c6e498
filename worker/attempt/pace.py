"""How fast a job goes: an exponential average, so that one slow step does not spoil the estimate."""

import time

_SMOOTHING = 0.1


class Pace:
    """Seconds per step, from the times at which steps end."""

    def __init__(self) -> None:
        self._ended_at: float | None = None
        self.seconds_per_step: float | None = None

    def step(self) -> float | None:
        """Note the end of a step; the average so far, in seconds, from the second step on."""
        now = time.monotonic()
        if self._ended_at is not None:
            took = now - self._ended_at
            before = self.seconds_per_step if self.seconds_per_step is not None else took
            self.seconds_per_step = before + _SMOOTHING * (took - before)
        self._ended_at = now
        return self.seconds_per_step
