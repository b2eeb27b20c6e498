"""What the training loop tells the job: progress for the lease, and checkpoints on their way to S3."""

import logging
import time

from sqlalchemy.orm import Session

from app.db import leases
from app.db.leases import Progress
from app.db.locks import kept_version
from app.db.session import transaction
from app.db.tables import Job
from app.domain.errors import ObjectLostError
from app.domain.jobs import Phase
from worker.attempt.job_context import JobContext, ParentGoneError
from worker.attempt.pace import Pace
from worker.attempt.worker_objects import make_dead, make_live
from worker.worker_metrics import StepTimer

log = logging.getLogger(__name__)


class TrainHooks:
    """Implements `worker.training.training_task.Hooks` for one attempt at a job.

    A job of several trainings counts its steps through: `done` were done before this training, of `total` in all.
    """

    def __init__(self, context: JobContext, strategy: str, done: int = 0, total: int | None = None) -> None:
        self._context = context
        self._timer = StepTimer(context.job.base_model, strategy, reached_before=context.job.step)
        self._done = done
        self._total = total
        self._pace = Pace()
        self._saved_at = time.monotonic()

    def phase(self, phase: Phase) -> None:
        """A phase of training begins."""
        self._timer.pause()
        self._context.lease.enter(phase)
        self._context.hand_back_at_shutdown()

    def step(self, step: int, total_steps: int, loss: float | None) -> None:
        """An optimizer step has ended, or, with loss None, something else that shows that the job goes on."""
        pace = None if loss is None else self._pace.step()
        if loss is not None:
            self._timer.step(self._done + step)
        self._context.lease.tick(Progress(self._done + step, self._total or total_steps, pace, loss))
        if loss is None:
            self._context.hand_back_at_shutdown()

    def wants_checkpoint(self) -> bool:
        """Every so many seconds, and at once when the worker is to stop."""
        since = time.monotonic() - self._saved_at
        return self._context.shutdown.is_set() or since >= self._context.settings.checkpoint_interval_seconds

    def save_checkpoint(self, data: bytes, step: int) -> None:
        """Put the checkpoint, then name it by a fenced row; the one before it is left to the collector.

        Raises:
            HandBackError: the worker is to stop, and the checkpoint is safe.
            ParentGoneError: the parent was erased, so that nothing of this training may be kept.
        """
        context = self._context
        row = context.objects.put("checkpoints", data, "application/octet-stream")
        with transaction(context.engine) as session:
            leases.lock(session, context.lease.claim)
            _insist_on_parent(session, context.job)
            before = session.get_one(type(context.job), context.job.id).checkpoint_object_id
            # A job that gets on is no poison: its failures are forgiven at each checkpoint.
            leases.write(
                session,
                context.lease.claim,
                checkpoint_object_id=row.id,
                checkpoint_parent_id=context.job.parent_version_id,
                checkpoint_step=step,
                failures=0,
            )
            make_live(session, [row])
            if before is not None:
                make_dead(session, before)
        self._saved_at = time.monotonic()
        self._timer.pause()
        context.hand_back_at_shutdown()


def _insist_on_parent(session: Session, job: Job) -> None:
    """Locks the parent, so that nobody erases it before the commit. Not every job that trains has one."""
    if job.parent_version_id is None:
        return
    if session.scalar(kept_version(job.parent_version_id)) is None:
        raise ParentGoneError("The parent version was erased.")


def read_checkpoint(context: JobContext) -> bytes | None:
    """The job's checkpoint, if it is there and was made on top of the same parent; the head may have moved since."""
    job = context.job
    if job.checkpoint_object_id is None or job.checkpoint_parent_id != job.parent_version_id:
        return None
    try:
        return context.objects.get(job.checkpoint_object_id)
    except ObjectLostError as error:
        log.warning("job %s starts again from step 0: %s", job.id, error)
        return None
