"""No query of the API, a claim or the sweeper reads a growing table whole: `benchmarks.queries` on a small scale."""

from collections.abc import Iterator

import pytest
from sqlalchemy import event

from app.db.session import make_engine
from app.settings import Settings
from benchmarks.queries.filling import Size, fill
from benchmarks.queries.operations import API, PROCESSES, Place, open_place
from benchmarks.queries.watching import large_tables, watched

SIZE = Size(users=2000, busy_users=2, busy_lineages=40, lineages=1)


@pytest.fixture(scope="module")
def place(module_settings: Settings) -> Iterator[Place]:
    assert module_settings.database_url is not None
    engine = make_engine(module_settings.database_url)
    fill(engine, SIZE)
    engine.dispose()
    unlimited = {"requests_per_second": 1e6, "requests_burst": 10**9}
    with open_place(module_settings.model_copy(update=unlimited), SIZE) as place:
        yield place


@pytest.mark.parametrize("name", [*API, *PROCESSES])
def test_a_query_reads_no_growing_table_whole(place: Place, name: str) -> None:
    """Judged without sequential scans: so small a table may rightly be read whole, but an index must be there."""
    engine, operation = (place.api_engine, API[name]) if name in API else (place.engine, PROCESSES[name])

    def forbid(_: object, cursor: object, *_rest: object) -> None:
        cursor.execute("SET enable_seqscan = off")  # type: ignore[attr-defined]

    event.listen(engine, "before_cursor_execute", forbid)
    try:
        with watched(engine, large_tables(place.engine), plans=True) as watch:
            operation(place, 1)
    finally:
        event.remove(engine, "before_cursor_execute", forbid)
    assert watch.seen
    assert watch.scanned() == set()
