"""How long the jobs of a worker that was lost wait until another attempt has them."""

import time
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Engine, select

from app.db.session import transaction
from app.db.tables import Job
from app.domain.jobs import TERMINAL, JobStatus


@dataclass(frozen=True)
class _Lost:
    job_id: UUID
    attempt: int
    at: float


class Recoveries:
    """`seconds`: of those that recovered. A job that was canceled, or ended by its own worker after all, counts not."""

    def __init__(self, engine: Engine) -> None:
        self.seconds: list[float] = []
        self._engine = engine
        self._waiting: list[_Lost] = []

    def lost(self, worker: str) -> None:
        """This worker is taken down; so is what it holds. Call it at that moment."""
        at = time.monotonic()
        with transaction(self._engine) as session:
            query = select(Job.id, Job.attempt).where(Job.worker == worker, Job.status == JobStatus.RUNNING)
            self._waiting += [_Lost(row[0], row[1], at) for row in session.execute(query)]

    def look(self) -> None:
        """Call it often: it is what the times are measured by."""
        if not self._waiting:
            return
        with transaction(self._engine) as session:
            query = select(Job.id, Job.attempt, Job.status).where(Job.id.in_([lost.job_id for lost in self._waiting]))
            now = {row[0]: (row[1], row[2]) for row in session.execute(query)}
        still = []
        for lost in self._waiting:
            attempt, status = now[lost.job_id]
            if attempt > lost.attempt:
                self.seconds.append(time.monotonic() - lost.at)
            elif status not in TERMINAL:
                still.append(lost)
        self._waiting = still
