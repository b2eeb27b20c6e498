"""Celery's tasks: one, which carries nothing."""

from app.queue import WAKE_TASK
from worker.celery_app import celery_app, runner, worker_settings


@celery_app.task(name=WAKE_TASK)
def wake() -> None:
    """Look into Postgres for work until there is none."""
    runner().run_until_idle(worker_settings().worker_kinds)
