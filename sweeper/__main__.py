"""The sweeper's process: `python -m sweeper`."""

import signal
import sys

from app.db.schema import check_schema
from app.db.session import make_engine
from app.domain.errors import NotReadyError
from app.logs import configure_logging
from app.metrics.serving import serve_metrics
from app.queue import WakeUps
from app.settings import get_settings
from app.stack.addresses import resolve
from app.storage import ObjectStore
from sweeper.sweep_metrics import keep_counting
from sweeper.sweeper import Sweeper


def main() -> None:
    """Sweep until SIGTERM or SIGINT. Every step is a transaction, or safe to break off, so nothing is waited for."""
    configure_logging()
    settings = resolve(get_settings())
    if settings.database_url is None or settings.broker_url is None:
        raise NotReadyError("Set DATABASE_URL and BROKER_URL, or start `palimpsest up` on the same home.")
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))
    serve_metrics(settings)
    engine = make_engine(settings.database_url, settings.worker_patience, pooler=settings.database_pooler)
    check_schema(engine)
    if settings.metrics_port is not None:
        keep_counting(engine, settings.count_bytes_interval_seconds)
    Sweeper(settings, engine, ObjectStore(settings), WakeUps(settings.broker_url)).run()


if __name__ == "__main__":
    try:
        main()
    except NotReadyError as error:
        sys.exit(f"palimpsest: {error.detail}")
