"""One operation's figures."""

import statistics
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.queries.operations import API, PROCESSES, Place
from benchmarks.queries.watching import Watch, watched

LIMIT_MS = 20.0


@dataclass(frozen=True)
class Figures:
    """Medians over the turns: how many statements, what all and the dearest cost the server, how long that took."""

    HEADER: ClassVar[str] = f"{'operation':45} statements   all ms  dearest ms  waited ms  reads whole"

    statements: int
    all_ms: float
    dearest_ms: float
    waited_ms: float
    scanned: frozenset[str]

    def line(self, name: str) -> str:
        """For the table."""
        scanned = ", ".join(sorted(self.scanned))
        times = f"{self.all_ms:8.1f} {self.dearest_ms:11.1f} {self.waited_ms:10.1f}"
        return f"{name:45} {self.statements:10} {times}  {scanned}"


def measure(place: Place, name: str, large: frozenset[str], turns: int) -> Figures:
    """Once with the plans, then timed: each turn on another user's rows."""
    planned = _watch(place, name, large, 0, plans=True)
    timed = [_watch(place, name, large, turn, plans=False) for turn in range(1, turns + 1)]
    return Figures(
        statements=int(statistics.median(len(watch.seen) for watch in timed)),
        all_ms=statistics.median(watch.cpu_seconds() for watch in timed) * 1000,
        dearest_ms=statistics.median(watch.dearest().cpu_seconds for watch in timed) * 1000,
        waited_ms=statistics.median(watch.dearest().seconds for watch in timed) * 1000,
        scanned=frozenset(table for table, _ in planned.scanned()),
    )


def _watch(place: Place, name: str, large: frozenset[str], turn: int, *, plans: bool) -> Watch:
    engine, operation = (place.api_engine, API[name]) if name in API else (place.engine, PROCESSES[name])
    with watched(engine, large, plans=plans) as watch:
        operation(place, turn)
    return watch
