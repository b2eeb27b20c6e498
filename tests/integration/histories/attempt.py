"""One attempt at one job, as the rules have it: what a worker may still write, and what becomes of it."""

from dataclasses import dataclass

from app.domain.jobs import JobKind, JobStatus
from tests.integration.histories.hands import At, Order
from tests.integration.histories.model import Model, ModelJob, ModelVersion
from worker import outcomes
from worker.attempt.job_context import HandBackError

_FAILS = ("not-finite",)
_OUTAGES = ("storage",)


@dataclass(eq=False)
class Attempt:
    """What the worker knows: its number, the parent that it was given, and what its heartbeats have
    brought. `trains` is the version that an erasure is training again."""

    model: Model
    job: ModelJob
    number: int
    parent: ModelVersion | None
    is_lost: bool = False
    has_heard_of_cancel: bool = False
    trains: ModelVersion | None = None

    @classmethod
    def begin(cls, model: Model, job: ModelJob) -> "Attempt":
        """Claim the job."""
        job.status, job.is_late = JobStatus.RUNNING, False
        job.attempt += 1
        return cls(model, job, job.attempt, job.lineage.head if job.kind is JobKind.TRAIN else None)

    def is_stale(self) -> bool:
        """Whether nothing that it writes may count."""
        job = self.job
        return job.is_gone or job.attempt != self.number or job.status is not JobStatus.RUNNING or job.is_late

    def beat(self) -> None:
        """A heartbeat."""
        if self.is_stale():
            self.is_lost = True
        else:
            self.has_heard_of_cancel = self.job.is_cancel_asked

    def obey(self, at: At, order: Order | Exception) -> None:
        """What comes of doing that there; nothing if it is too late."""
        if self.is_stale():
            return
        if isinstance(order, Exception):
            self._fail(order)
        elif order is Order.STEP or (order is Order.CHECKPOINT and at is At.DRAWING):
            if at is not At.LOCKING and self.has_heard_of_cancel:
                self.job.end(JobStatus.CANCELED)
        elif order is Order.CHECKPOINT:
            if at is At.TRAINING:
                self._save()
        else:
            {At.TRAINING: self._finish_training, At.DRAWING: self._draw, At.LOCKING: self._erase}[at]()

    def _fail(self, error: Exception) -> None:
        job = self.job
        slug = outcomes.describe(error).type
        if isinstance(error, HandBackError):
            job.back_to_the_queue()
            return
        is_outage = slug in _OUTAGES
        job.failures += not is_outage
        if slug in _FAILS or (not is_outage and job.failures >= self.model.max_failures):
            job.end(JobStatus.FAILED, slug)
            return
        job.back_to_the_queue()
        job.error, job.waits = None if job.is_cancel_asked else slug, True

    def _save(self) -> None:
        if self.parent is not None and not self.parent.is_there:
            self.job.back_to_the_queue()
            return
        self.job.failures = 0
        self.job.has_checkpoint, self.job.checkpoint_parent = True, self.parent

    def _finish_training(self) -> None:
        if self.job.kind is JobKind.ERASE:
            self._keep_draft()
        elif self._is_canceled():
            self.job.end(JobStatus.CANCELED)
        elif self.parent is None or not self.parent.is_there:
            self.job.back_to_the_queue()
        else:
            self.model.publish(self.job, self.parent)

    def _is_canceled(self) -> bool:
        job = self.job
        is_deleted = job.lineage.is_deleted or (job.concept is not None and job.concept.is_deleted)
        return job.is_cancel_asked or is_deleted

    def _keep_draft(self) -> None:
        """Unless another erasure has replaced the version meanwhile."""
        if self.trains is not None and self.trains.is_there:
            self.job.failures = 0
            self.job.drafts.add(self.trains)

    def _draw(self) -> None:
        job = self.job
        generation = job.generation
        assert generation is not None
        is_deleted = job.lineage.is_deleted or generation.is_deleted or generation.is_gone
        job.end(JobStatus.CANCELED if is_deleted or job.is_cancel_asked else JobStatus.SUCCEEDED)

    def _erase(self) -> None:
        job = self.job
        if job.lineage.is_deleted:
            job.end(JobStatus.CANCELED)
        elif lacking := self.model.lacking(job):
            self.trains = lacking[0]
            if self.trains.concept is None or self.trains.concept.is_deleted:
                job.end(JobStatus.CANCELED)
        elif job.is_cancel_asked:
            job.end(JobStatus.CANCELED)
        else:
            self.model.erase(job)
