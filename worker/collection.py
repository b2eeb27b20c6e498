"""What is deleted goes for good: rows under a tombstone, objects that no row needs, keys that no row names.

Rows go before keys: a crash between the two leaves a key without a row, which the next listing finds.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, Select, String, cast, delete, exists, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.db.evaluation_tables import Evaluation, EvaluationFile, EvaluationMemo
from app.db.histories import hand_over
from app.db.session import transaction
from app.db.tables import (
    Concept,
    ConceptImage,
    ErasureDraft,
    Generation,
    GenerationImage,
    IdempotencyKey,
    Job,
    Lineage,
    ObjectStatus,
    StoredObject,
    User,
    Version,
)
from app.domain.evaluations import EvaluationFileName
from app.domain.jobs import TERMINAL, JobKind, JobStatus
from app.storage import ObjectStore

_IDEMPOTENCY_KEYS_KEPT = timedelta(hours=24)


def purge_tombstones(session: Session) -> None:
    """Remove what is under a tombstone and in no running job's hands; its objects are left to `collect`.

    Whoever deleted it has canceled its jobs, so a running one ends at its next heartbeat or with its lease.
    """
    _purge_users(session)
    _purge_lineages(session)
    _purge_concepts(session)
    _purge_generations(session)
    _purge_evaluations(session)


def drop_finished_checkpoints(session: Session) -> None:
    """A job that has ended needs neither its checkpoint nor its input any more."""
    has_objects = Job.checkpoint_object_id.is_not(None) | Job.input_object_id.is_not(None)
    has_ended = Job.status.in_(TERMINAL) & has_objects
    _drop_finished_drafts(session)
    ended = session.scalars(select(Job.id).where(has_ended).with_for_update(skip_locked=True)).all()
    if not ended:
        return
    _bury(session, select(Job.checkpoint_object_id).where(Job.id.in_(ended)))
    _bury(session, select(Job.input_object_id).where(Job.id.in_(ended)))
    session.execute(
        update(Job)
        .where(Job.id.in_(ended))
        .values(checkpoint_object_id=None, checkpoint_parent_id=None, checkpoint_step=None, input_object_id=None)
    )


def _drop_finished_drafts(session: Session) -> None:
    """What an erase job trained anew without coming to its end."""
    # In one statement: a job that ends between two would have its drafts deleted, and their objects kept.
    ended = ErasureDraft.job_id.in_(select(Job.id).where(Job.status.in_(TERMINAL)))
    drafts = session.execute(
        delete(ErasureDraft)
        .where(ended)
        .returning(ErasureDraft.adapter_object_id, ErasureDraft.strategy_state_object_id)
        .execution_options(synchronize_session=False)
    ).all()
    dead = StoredObject.id.in_([object_id for draft in drafts for object_id in draft if object_id is not None])
    session.execute(update(StoredObject).where(dead).values(status=ObjectStatus.DEAD))


def _bury_drafts(session: Session, job_ids: Select[UUID]) -> None:
    _bury(session, select(ErasureDraft.adapter_object_id).where(ErasureDraft.job_id.in_(job_ids)))
    _bury(session, select(ErasureDraft.strategy_state_object_id).where(ErasureDraft.job_id.in_(job_ids)))


def drop_old_idempotency_keys(session: Session) -> None:
    """An answer is kept for a day."""
    old = IdempotencyKey.created_at < func.clock_timestamp() - _IDEMPOTENCY_KEYS_KEPT
    session.execute(delete(IdempotencyKey).where(old))


def collect(engine: Engine, store: ObjectStore, pending_age_seconds: float) -> int:
    """Delete dead objects, and pending ones that nobody published in that time; how many."""
    old = StoredObject.created_at < func.clock_timestamp() - timedelta(seconds=pending_age_seconds)
    is_dead = (StoredObject.status == ObjectStatus.DEAD) | ((StoredObject.status == ObjectStatus.PENDING) & old)
    with transaction(engine) as session:
        keys = session.scalars(delete(StoredObject).where(is_dead).returning(StoredObject.key)).all()
    store.delete(keys)
    return len(keys)


def remove_strays(engine: Engine, store: ObjectStore, age_seconds: float, batch: int = 1000) -> int:
    """Delete keys of that age without a row: the row always comes first, so such a key has lost its own; how many.

    The age is for operators: who starts a sweeper on the wrong database, or on one restored from a backup, has so long
    to notice.
    """
    born_before = datetime.now(UTC) - timedelta(seconds=age_seconds)
    old = (listed.key for listed in store.list() if listed.modified_at <= born_before)
    removed = 0
    while some := list(islice(old, batch)):
        with transaction(engine) as session:
            known = set(session.scalars(select(StoredObject.key).where(StoredObject.key.in_(some))))
        strays = [key for key in some if key not in known]
        store.delete(strays)
        removed += len(strays)
    return removed


def _running(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(Job.status == JobStatus.RUNNING, condition)


def _params_name(field: str, row_id: InstrumentedAttribute[UUID]) -> ColumnElement[bool]:
    return func.jsonb_extract_path_text(Job.params, field) == cast(row_id, String)


def _bury(session: Session, object_ids: Select[UUID] | Select[UUID | None]) -> None:
    session.execute(update(StoredObject).where(StoredObject.id.in_(object_ids)).values(status=ObjectStatus.DEAD))


def _purge_users(session: Session) -> None:
    gone = session.scalars(
        select(User.id).where(User.deleted_at.is_not(None), ~_running(Job.user_id == User.id)).with_for_update()
    ).all()
    session.execute(update(StoredObject).where(StoredObject.user_id.in_(gone)).values(status=ObjectStatus.DEAD))
    session.execute(delete(User).where(User.id.in_(gone)))


def _purge_lineages(session: Session) -> None:
    gone: Sequence[UUID] = session.scalars(
        select(Lineage.id)
        .where(Lineage.deleted_at.is_not(None), ~_running(Job.lineage_id == Lineage.id))
        .with_for_update()
    ).all()
    if not gone:
        return
    hand_over(session, gone)
    _bury(session, select(Version.adapter_object_id).where(Version.lineage_id.in_(gone)))
    _bury(session, select(Version.strategy_state_object_id).where(Version.lineage_id.in_(gone)))
    _bury(session, select(Job.checkpoint_object_id).where(Job.lineage_id.in_(gone)))
    _bury(session, select(Job.input_object_id).where(Job.lineage_id.in_(gone)))
    _bury_drafts(session, select(Job.id).where(Job.lineage_id.in_(gone)))
    _bury_pictures(session, select(Generation.id).where(Generation.lineage_id.in_(gone)))
    _bury_figures(session, select(Evaluation.id).where(Evaluation.lineage_id.in_(gone)))
    _bury_memos(session, select(Version.id).where(Version.lineage_id.in_(gone)))
    session.execute(delete(Lineage).where(Lineage.id.in_(gone)))


def _purge_concepts(session: Session) -> None:
    """A concept's images go; its row stays while a version has learned it, so that an erasure can name it."""
    trains_it = func.jsonb_extract_path_text(Job.params, "concept_id") == cast(Concept.id, String)
    gone = session.scalars(
        select(Concept.id).where(Concept.deleted_at.is_not(None), ~_running(trains_it)).with_for_update()
    ).all()
    if not gone:
        return
    _bury(session, select(ConceptImage.object_id).where(ConceptImage.concept_id.in_(gone)))
    _drop_sheets(session, gone)
    session.execute(delete(ConceptImage).where(ConceptImage.concept_id.in_(gone)))
    is_learned = exists().where(Version.concept_id == Concept.id)
    session.execute(delete(Concept).where(Concept.id.in_(gone), ~is_learned))


def _purge_generations(session: Session) -> None:
    draws_it = (Job.kind == JobKind.GENERATE) & _params_name("generation_id", Generation.id)
    gone = session.scalars(
        select(Generation.id).where(Generation.deleted_at.is_not(None), ~_running(draws_it)).with_for_update()
    ).all()
    if not gone:
        return
    _bury_pictures(session, select(Generation.id).where(Generation.id.in_(gone)))
    session.execute(delete(Generation).where(Generation.id.in_(gone)))


def _purge_evaluations(session: Session) -> None:
    carries_it_out = Job.id == Evaluation.job_id
    gone = session.scalars(
        select(Evaluation.id).where(Evaluation.deleted_at.is_not(None), ~_running(carries_it_out)).with_for_update()
    ).all()
    if not gone:
        return
    _bury_figures(session, select(Evaluation.id).where(Evaluation.id.in_(gone)))
    session.execute(delete(Evaluation).where(Evaluation.id.in_(gone)))


def _drop_sheets(session: Session, concept_ids: Sequence[UUID]) -> None:
    """A contact sheet shows the concepts' own images; numbers and curves about a deleted concept may stay."""
    shows_one = EvaluationFile.evaluation_id.in_(
        select(Evaluation.id).where(Evaluation.concept_ids.overlap(list(concept_ids)))
    ) & EvaluationFile.name.in_((EvaluationFileName.SHEET_PNG, EvaluationFileName.SHEET_SVG))
    _bury(session, select(EvaluationFile.object_id).where(shows_one))
    session.execute(delete(EvaluationFile).where(shows_one).execution_options(synchronize_session=False))


def _bury_figures(session: Session, evaluation_ids: Select[UUID]) -> None:
    _bury(session, select(EvaluationFile.object_id).where(EvaluationFile.evaluation_id.in_(evaluation_ids)))


def _bury_memos(session: Session, version_ids: Select[UUID]) -> None:
    _bury(session, select(EvaluationMemo.object_id).where(EvaluationMemo.version_id.in_(version_ids)))


def _bury_pictures(session: Session, generation_ids: Select[UUID]) -> None:
    _bury(session, select(GenerationImage.object_id).where(GenerationImage.generation_id.in_(generation_ids)))
