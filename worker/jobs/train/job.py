"""A train job from its row to the published version."""

from uuid import UUID

from sqlalchemy.orm import Session

from app.db.locks import kept_concepts, lock_lineage
from app.db.session import transaction
from app.db.tables import StoredObject, Version
from app.domain.errors import DeletedError
from app.domain.jobs import Phase, TrainParams
from worker.attempt.chain import load_chain
from worker.attempt.job_context import JobContext, ParentGoneError
from worker.jobs.publishing import NewVersion, publish
from worker.jobs.teaching import Learned, ParentVersion, learn
from worker.jobs.train import promotion
from worker.jobs.training_hooks import TrainHooks


def run(context: JobContext, params: TrainParams) -> None:
    """Train the concept on top of the lineage's head, publish the version, and let a gate decide if there is one."""
    # Only a gate leaves a job with a result: an earlier attempt has published the version, and it waits.
    if context.job.result is None:
        _train_and_publish(context, params)
    if (waiting := promotion.waiting(context)) is not None:
        promotion.decide(context, params, waiting)


def _train_and_publish(context: JobContext, params: TrainParams) -> None:
    with transaction(context.engine) as session:
        parent = session.get(Version, context.job.parent_version_id)
        if parent is None:
            raise ParentGoneError("The parent version was erased.")
        parent_adapter = session.get(StoredObject, parent.adapter_object_id) if parent.adapter_object_id else None
    chain = load_chain(context.engine, parent.id, context.objects.get)
    sha256 = parent_adapter.sha256 if parent_adapter else None
    parent_version = ParentVersion(parent.id, chain, sha256)
    learned = learn(context, params, parent_version, TrainHooks(context, params.strategy.name))
    context.lease.enter(Phase.PUBLISHING)
    with transaction(context.engine) as session:
        _publish(session, context, params, learned)


def _publish(session: Session, context: JobContext, params: TrainParams, learned: Learned) -> None:
    new = NewVersion(params, learned.adapter, learned.state, learned.provenance)
    lock_lineage(session, context.job.lineage_id)
    _insist_on_concept(session, params.concept_id)
    publish(session, context, new, params.training.steps, learned.provenance.final_loss)


def _insist_on_concept(session: Session, concept_id: UUID) -> None:
    """Locks the concept, so that it is not deleted between this look and the commit."""
    if session.scalar(kept_concepts([concept_id])) is None:
        raise DeletedError("The concept has been deleted.")
