"""The one transaction that makes a version: inserted, the head moved, the job finished."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from app.db import leases
from app.db.locks import kept_version, lock_lineage
from app.db.tables import Lineage, StoredObject, Version
from app.domain.concept_tasks import ConceptTask, ImportedConcept
from app.domain.jobs import JobStatus, TrainResult
from app.domain.lineages import AnyProvenance, VersionStatus
from worker.attempt.job_context import JobContext, ParentGoneError
from worker.attempt.lease import lock_uncanceled
from worker.attempt.worker_objects import make_live
from worker.jobs.follow_up import ask_for_evaluation, figures_of


@dataclass(frozen=True)
class NewVersion:
    """What a version is, beside its place in the lineage."""

    task: ConceptTask | ImportedConcept
    adapter: StoredObject
    state: StoredObject | None
    provenance: AnyProvenance

    def row(self, lineage: Lineage, parent_id: UUID | None, status: VersionStatus) -> Version:
        """Its row, under the next number of the lineage, which must be locked."""
        return Version(
            lineage_id=lineage.id,
            number=lineage.take_number(),
            status=status,
            parent_id=parent_id,
            concept_id=self.task.concept_id,
            taught=self.task.taught,
            strategy=self.task.strategy,
            training=self.task.training,
            adapter_object_id=self.adapter.id,
            strategy_state_object_id=None if self.state is None else self.state.id,
            provenance=self.provenance,
        )


def publish(session: Session, context: JobContext, new: NewVersion, steps: int, loss: float | None) -> None:
    """Insert the version, move the head if it is still the parent, finish the job: all of it or nothing.

    A trained version under a gate is held, and its job goes on.

    Raises:
        DeletedError: the lineage was deleted.
        CanceledError: the job was canceled.
        LeaseLostError: this attempt no longer holds the job.
        ParentGoneError: the parent was erased.
    """
    job = context.job
    lineage = lock_lineage(session, job.lineage_id)
    lock_uncanceled(session, context.lease.claim)
    # Locked, so that nobody erases it before the commit.
    if session.scalar(kept_version(job.parent_version_id)) is None:
        raise ParentGoneError("The parent version was erased.")
    is_next = lineage.head_version_id == job.parent_version_id
    is_gated = job.kind.traits.is_gated
    waits = is_gated and is_next and lineage.evaluation.gate is not None
    status = VersionStatus.LIVE if is_next and not waits else VersionStatus.HELD
    version = new.row(lineage, job.parent_version_id, status)
    session.add(version)
    session.flush()
    if version.status is VersionStatus.LIVE:
        lineage.head_version_id = version.id
    make_live(session, [new.adapter] if new.state is None else [new.adapter, new.state])
    evaluation_id = ask_for_evaluation(session, job, lineage, version, waits=waits) if is_gated else None
    result = TrainResult(lineage_id=lineage.id, version=version.number, evaluation_id=evaluation_id)
    ended = figures_of(result, steps, loss)
    if waits:
        leases.write(session, context.lease.claim, **ended)
    else:
        leases.finish(session, context.lease.claim, JobStatus.SUCCEEDED, **ended)
