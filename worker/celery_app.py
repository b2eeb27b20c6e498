"""The Celery end of the worker: connects, listens for wake-ups, and tells the runner when to stop."""

import logging
import sys
import threading
from functools import lru_cache
from typing import Any

from celery.signals import worker_init, worker_ready, worker_shutting_down
from sqlalchemy.exc import SQLAlchemyError

from app.db.schema import check_schema
from app.db.session import make_engine
from app.domain.errors import NotReadyError
from app.logs import configure_logging
from app.metrics.serving import serve_metrics
from app.queue import WAKE_TASK, make_celery
from app.settings import Settings, get_settings
from app.stack.addresses import resolve
from app.storage import ObjectStore
from worker.runner import Runner

log = logging.getLogger(__name__)

shutdown = threading.Event()


@lru_cache
def worker_settings() -> Settings:
    """This worker's settings, with the embedded stack's addresses where none are given."""
    return resolve(get_settings())


def _broker_url() -> str:
    if (url := worker_settings().broker_url) is None:
        raise NotReadyError("There is no broker: set BROKER_URL, or start `palimpsest up` on the same home.")
    return url


@lru_cache
def runner() -> Runner:
    """The one runner of this process, made at the first job: base models stay loaded in it."""
    settings = worker_settings()
    if settings.database_url is None:
        raise NotReadyError("There is no database: set DATABASE_URL, or start `palimpsest up` on the same home.")
    engine = make_engine(settings.database_url, settings.worker_patience, pooler=settings.database_pooler)
    made = Runner(settings, engine, ObjectStore(settings), shutdown)
    threading.Thread(target=_forget_erased, args=(made, settings), name="forget", daemon=True).start()
    return made


def _forget_erased(runner: Runner, settings: Settings) -> None:
    """An erasure does not know which workers kept something of it. So each worker looks, even while it is idle."""
    while not shutdown.wait(settings.sweep_interval_seconds):
        try:
            runner.forget_erased()
        except SQLAlchemyError as error:
            log.warning("not forgotten yet, to be tried again: %s", error)


def _check_schema() -> None:
    if (url := worker_settings().database_url) is not None:
        engine = make_engine(url)
        check_schema(engine)
        engine.dispose()


configure_logging()
serve_metrics(worker_settings())
celery_app = make_celery(_broker_url())
celery_app.conf.imports = ("worker.tasks",)


@worker_init.connect
def _start(**_: Any) -> None:
    try:
        _check_schema()
    except NotReadyError as error:
        sys.exit(f"palimpsest: {error.detail}")


@worker_ready.connect
def _look_for_work_at_once(**_: Any) -> None:
    celery_app.send_task(WAKE_TASK, queue=worker_settings().worker_kinds[0].queue.value)


@worker_shutting_down.connect
def _stop_soon(**_: Any) -> None:
    """A warm shutdown waits for the running task, which checkpoints and hands its job back."""
    shutdown.set()
