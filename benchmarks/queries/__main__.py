"""Fill a database and time every query on it: `python -m benchmarks.queries [--scale 1]`.

Prints for each operation its statements, the server's processor time for all of them and for the dearest one, and how
long the caller waited for that (medians, in milliseconds); then the large tables that a plan reads whole. Ends with
status 1 when a statement costs more than 20 ms, or reads such a table whole.
"""

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from app.db.migrate import upgrade
from app.db.session import make_engine
from app.domain.quotas import Quotas
from app.settings import Settings
from app.stack.postgres import Postgres
from app.stack.postgres_roles import ROLE
from app.stack.private_files import home_folder
from app.stack.services import start_services
from app.stack.signals import StopRequest
from app.stack.supervisor import Supervisor
from app.storage import ObjectStore
from benchmarks.queries.filling import Size, fill
from benchmarks.queries.measuring import LIMIT_MS, Figures, measure
from benchmarks.queries.operations import API, PROCESSES, open_place
from benchmarks.queries.watching import large_tables

_NO_QUOTA = Quotas(images=10**9, lineages=10**9, unfinished_jobs=10**9, stored_bytes=10**15, gpu_seconds=10**12)
_UNLIMITED = {"requests_per_second": 1e6, "requests_burst": 10**9, "quotas": _NO_QUOTA}


def main() -> None:
    """Run on services of its own, in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queries", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="1: a million jobs")
    parser.add_argument("--turns", type=int, default=11, help="how often each operation is timed")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        home = home_folder(Path(folder))
        with Supervisor(home, StopRequest(), print) as supervisor:
            settings = Settings(home=home, database_url=None, broker_url=None, s3_endpoint_url=None)
            settings = start_services(settings, home, supervisor).applied_to(settings)
            _may_fill(home, settings)
            sys.exit(run(settings.model_copy(update=_UNLIMITED), Size.scaled(options.scale), options.turns))


def _may_fill(home: Path, settings: Settings) -> None:
    """A million rows go in without a look at each key, which Palimpsest's own role may not ask for."""
    server = Postgres(home, make_url(settings.database_url or "").port or 0)
    with psycopg.connect(server.superuser_conninfo("postgres"), autocommit=True) as connection:
        connection.execute(f"GRANT SET ON PARAMETER session_replication_role TO {ROLE}")


def run(settings: Settings, size: Size, turns: int) -> int:
    """Fill, time, print; 1 when an operation is too slow or reads a large table whole."""
    assert settings.database_url is not None
    began = time.monotonic()
    upgrade(settings.database_url)
    fill(make_engine(settings.database_url), size)
    ObjectStore(settings).ensure_bucket()
    print(f"filled in {time.monotonic() - began:.0f} s")
    with open_place(settings, size) as place:
        large = large_tables(place.engine)
        figures = {name: measure(place, name, large, turns) for name in [*API, *PROCESSES]}
    print(Figures.HEADER)
    for name, figure in figures.items():
        print(figure.line(name))
    slow = [name for name, figure in figures.items() if figure.dearest_ms > LIMIT_MS or figure.scanned]
    print(f"{len(figures)} operations; beyond the limits: {', '.join(slow) or 'none'}")
    return 1 if slow else 0


if __name__ == "__main__":
    main()
