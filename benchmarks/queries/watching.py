"""What statements an engine sends, what each costs the server, and which tables its plan reads whole.

The cost is the processor time of the server's process (Linux's `schedstat`), which a busy machine does not change: on a
quiet one, with warm caches, an answer takes about as long.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, text

_PLANNED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
LARGE_ROWS = 1000
"""A smaller table is rightly read whole: an index would not be quicker."""


@dataclass(frozen=True)
class Seen:
    """One statement: its text, what it costs the server and the caller, and the large tables that are read whole."""

    statement: str
    cpu_seconds: float
    seconds: float
    scanned: tuple[str, ...]


@dataclass
class Watch:
    """The statements that were sent within the block."""

    seen: list[Seen] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        """All statements together."""
        return sum(seen.cpu_seconds for seen in self.seen)

    def dearest(self) -> Seen:
        """The statement that cost the server most."""
        return max(self.seen, key=lambda seen: seen.cpu_seconds)

    def scanned(self) -> set[tuple[str, str]]:
        """Every large table that was read whole, and by which statement."""
        return {(table, seen.statement) for seen in self.seen for table in seen.scanned}


def large_tables(engine: Engine) -> frozenset[str]:
    """The tables of many rows, by the statistics of the last ANALYZE."""
    query = text("SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= :rows")
    with engine.connect() as connection:
        return frozenset(connection.scalars(query, {"rows": LARGE_ROWS}))


@contextmanager
def watched(engine: Engine, large: frozenset[str], *, plans: bool) -> Iterator[Watch]:
    """Watch an engine; with `plans`, ask for the plan of every statement before it is sent."""
    watch = Watch()
    scanned: tuple[str, ...] = ()
    began = cpu_began = 0.0

    def before(connection: Any, cursor: Any, statement: str, parameters: Any, _c: Any, is_many: bool) -> None:
        nonlocal scanned, began, cpu_began
        scanned = ()
        if plans and not is_many and statement.lstrip().startswith(_PLANNED):
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            plan = cursor.fetchone()[0]
            scanned = tuple(sorted(set(_scanned(plan if isinstance(plan, list) else json.loads(plan))) & large))
        cpu_began = _cpu_seconds(connection)
        began = time.perf_counter()

    def after(connection: Any, _cursor: Any, statement: str, _p: Any, _c: Any, _m: bool) -> None:
        seconds = time.perf_counter() - began
        watch.seen.append(Seen(statement, _cpu_seconds(connection) - cpu_began, seconds, scanned))

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    try:
        yield watch
    finally:
        event.remove(engine, "before_cursor_execute", before)
        event.remove(engine, "after_cursor_execute", after)


def _cpu_seconds(connection: Any) -> float:
    """The processor time of the connection's process of the server so far."""
    pid = connection.connection.driver_connection.info.backend_pid
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _scanned(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("Node Type") == "Seq Scan":
            yield node["Relation Name"]
        for value in node.values():
            yield from _scanned(value)
    elif isinstance(node, list):
        for value in node:
            yield from _scanned(value)
