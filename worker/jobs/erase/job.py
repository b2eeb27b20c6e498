"""An erase job: make the versions that hold a concept again without it, and remove everything of it, at one moment.

First it trains what has to be trained again, version by version, and keeps each as a draft. So an interrupted job goes
on where it was. Then one transaction, under the locks of all lineages concerned, replaces the old versions by the new
ones. A version that holds the concept and was published meanwhile is made again first.
"""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import leases
from app.db.locks import kept_version
from app.db.session import transaction
from app.db.tables import ErasureDraft, StoredObject, Version
from app.domain.concept_tasks import ConceptTask
from app.domain.erasure import EraseMode
from app.domain.errors import DeletedError
from app.domain.jobs import EraseParams, JobStatus, Phase
from worker.attempt.chain import StoredLink, links_of
from worker.attempt.job_context import JobContext
from worker.attempt.lease import lock_uncanceled
from worker.attempt.worker_objects import make_live
from worker.jobs.erase.shared_history import Drafts, SharedHistory, lock, look, replace_versions
from worker.jobs.teaching import Learned, ParentVersion, learn
from worker.jobs.training_hooks import TrainHooks


def run(context: JobContext, params: EraseParams) -> None:
    """Erase the concept from every branch.

    Raises:
        DeletedError: the lineage, or a concept that has to be trained again, was deleted.
        InvalidInputError: a version has come up that cannot be folded without what came before it.
    """
    while not _publish(context, params):
        _train_next(context, params)


def _drafts(session: Session, context: JobContext) -> Drafts:
    rows = session.scalars(select(ErasureDraft).where(ErasureDraft.job_id == context.job.id))
    return {draft.version_id: draft for draft in rows}


def _train_next(context: JobContext, params: EraseParams) -> None:
    """Train the first version that has no draft yet, and keep the draft."""
    with transaction(context.engine) as session:
        history = look(session, context.job.lineage_id, params)
        drafts = _drafts(session, context)
        lacking = _lacking(history, drafts, params)
        if not lacking:
            return
        version = history.versions[lacking[0]]
        chain = _chain(history, drafts, version)
        last = session.get_one(StoredObject, chain[-1].adapter_object_id) if chain else None
    assert version.parent_id is not None
    sha256 = None if last is None else last.sha256
    parent = ParentVersion(version.parent_id, links_of(chain, context.objects.get), sha256)
    total = sum(_steps(history.versions[version_id]) for version_id in history.affected.remade)
    done = sum(_steps(history.versions[version_id]) for version_id in history.affected.remade if version_id in drafts)
    task = _task(version)
    hooks = TrainHooks(context, task.strategy.name, done, total)
    learned = learn(context, task, parent, hooks)
    with transaction(context.engine) as session:
        _keep(session, context, version.id, learned)


def _lacking(history: SharedHistory, drafts: Drafts, params: EraseParams) -> list[UUID]:
    if params.mode is EraseMode.REFOLD:
        return []
    return [version_id for version_id in _retrained(history) if version_id not in drafts]


def _retrained(history: SharedHistory) -> list[UUID]:
    """What was imported was trained without the concept, and is folded again as it is."""
    return [version_id for version_id in history.affected.remade if history.versions[version_id].training is not None]


def _steps(version: Version) -> int:
    return 0 if version.training is None else version.training.steps


def _task(version: Version) -> ConceptTask:
    """What the version has learned."""
    if version.concept_id is None:
        raise DeletedError(f"The images that version {version.number} was trained on are deleted.")
    assert version.taught is not None
    assert version.strategy is not None
    assert version.training is not None
    return ConceptTask(
        concept_id=version.concept_id, taught=version.taught, strategy=version.strategy, training=version.training
    )


def _chain(history: SharedHistory, drafts: Drafts, version: Version) -> list[StoredLink]:
    """The version's ancestors that stay or have a draft, oldest first, each with the objects that it now has."""
    chain: list[StoredLink] = []
    parent_id = version.parent_id
    while parent_id is not None:
        ancestor = history.versions[history.affected.stand_in(parent_id, {})]
        parent_id = ancestor.parent_id
        if (draft := drafts.get(ancestor.id)) is not None:
            chain.append(StoredLink(ancestor, draft.adapter_object_id, draft.strategy_state_object_id))
        elif parent_id is not None:
            chain.append(StoredLink.of(ancestor))
    return chain[::-1]


def _keep(session: Session, context: JobContext, version_id: UUID, learned: Learned) -> None:
    """Unless another erasure has replaced the version meanwhile; what was learned is then left to the collector."""
    leases.lock(session, context.lease.claim)
    if session.scalar(kept_version(version_id)) is None:
        return
    # A job that gets on is no poison: its failures are forgiven.
    leases.write(session, context.lease.claim, failures=0)
    session.add(
        ErasureDraft(
            job_id=context.job.id,
            version_id=version_id,
            adapter_object_id=learned.adapter.id,
            strategy_state_object_id=None if learned.state is None else learned.state.id,
            provenance=learned.provenance,
        )
    )
    make_live(session, learned.rows())


def _publish(context: JobContext, params: EraseParams) -> bool:
    """Replace the versions and finish the job; False, and nothing is changed, when something is still to be trained."""
    with transaction(context.engine) as session:
        history = lock(session, context.job.lineage_id, params)
        if history is None:
            return False
        drafts = _drafts(session, context)
        if _lacking(history, drafts, params):
            return False
        context.lease.enter(Phase.PUBLISHING)
        lock_uncanceled(session, context.lease.claim)
        result = replace_versions(session, context.job, params, history, drafts)
        total = sum(_steps(history.versions[version_id]) for version_id in history.affected.remade)
        steps = (total if params.mode is EraseMode.RETRAIN else 0) or 1
        claim, succeeded = context.lease.claim, JobStatus.SUCCEEDED
        leases.finish(session, claim, succeeded, result=result, error=None, step=steps, total_steps=steps)
    return True
