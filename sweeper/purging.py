"""What is under a tombstone goes for good: its rows in one transaction, which leaves its objects to the collector.

Each thing is counted on the way, for the report of its deletion (`app.db.deletion_tables`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, Select, String, cast, delete, exists, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.db.deletion_tables import Deletion
from app.db.evaluation_tables import Evaluation, EvaluationFile, EvaluationMemo
from app.db.histories import hand_over
from app.db.tables import (
    Concept,
    ConceptImage,
    ErasureDraft,
    Generation,
    GenerationImage,
    Job,
    Lineage,
    ObjectStatus,
    StoredObject,
    Table,
    User,
    Version,
)
from app.db.usage import remember_time
from app.domain.evaluations import EvaluationFileName
from app.domain.jobs import JobKind, JobStatus

ObjectIds = Select[UUID] | Select[UUID | None]


def purge_tombstones(session: Session) -> None:
    """Remove what is under a tombstone and in no running job's hands; its objects are left to the collector.

    Whoever deleted it has canceled its jobs, so a running one ends at its next heartbeat or with its lease.
    """
    for user_id in _gone(session, User, Job.user_id == User.id):
        _purge_user(session, user_id)
    for lineage_id in _gone(session, Lineage, Job.lineage_id == Lineage.id):
        _purge_lineage(session, lineage_id)
    for concept_id in _gone(session, Concept, _params_name("concept_id", Concept.id)):
        _purge_concept(session, concept_id)
    draws_it = (Job.kind == JobKind.GENERATE) & _params_name("generation_id", Generation.id)
    for generation_id in _gone(session, Generation, draws_it):
        _purge_generation(session, generation_id)
    for evaluation_id in _gone(session, Evaluation, Job.id == Evaluation.job_id):
        _purge_evaluation(session, evaluation_id)


@dataclass(frozen=True)
class Grave:
    """Where what is removed is written down: the deletion of the thing itself, or of the user with all that is theirs.

    None where nobody is told: an erasure tells of itself, in its job.
    """

    session: Session
    deletion: Deletion | None

    @classmethod
    def of(cls, session: Session, thing_id: UUID, owner_id: UUID) -> "Grave":
        """The grave of a thing of that owner; its row is locked."""
        for deletion_id in (thing_id, owner_id):
            if (deletion := session.get(Deletion, deletion_id, with_for_update=True)) is not None:
                return cls(session, deletion)
        return cls(session, None)

    def bury(self, object_ids: ObjectIds) -> None:
        """Leave these objects to the collector."""
        self.bury_where(StoredObject.id.in_(object_ids))

    def bury_where(self, condition: ColumnElement[bool]) -> None:
        """Leave those to the collector for which that holds."""
        deletion_id = None if self.deletion is None else self.deletion.id
        self.session.execute(
            update(StoredObject)
            .where(condition)
            .values(status=ObjectStatus.DEAD, deletion_id=func.coalesce(deletion_id, StoredObject.deletion_id))
            .execution_options(synchronize_session=False)
        )

    def bury_work_of(self, jobs: Select[UUID]) -> None:
        """What these jobs have kept to go on from, were given, and have put without publishing it."""
        self.bury(select(Job.checkpoint_object_id).where(Job.id.in_(jobs)))
        self.bury(select(Job.input_object_id).where(Job.id.in_(jobs)))
        self.bury(select(ErasureDraft.adapter_object_id).where(ErasureDraft.job_id.in_(jobs)))
        self.bury(select(ErasureDraft.strategy_state_object_id).where(ErasureDraft.job_id.in_(jobs)))
        self.bury_where(StoredObject.job_id.in_(jobs) & (StoredObject.status == ObjectStatus.PENDING))

    def close(self, rows: Mapping[str, int]) -> None:
        """The rows are gone, so many of each sort."""
        if self.deletion is not None:
            self.deletion.removed = self.deletion.removed.with_rows(rows)
            if self.deletion.purged_at is None:
                self.deletion.purged_at = self.session.scalar(select(func.clock_timestamp()))
            self.session.flush()


def _gone(
    session: Session, table: type[User | Lineage | Concept | Generation | Evaluation], works_on_it: ColumnElement[bool]
) -> Sequence[UUID]:
    """What of a table is under a tombstone and in no running job's hands; locked."""
    is_free = ~exists().where(Job.status == JobStatus.RUNNING, works_on_it)
    return session.scalars(
        select(table.id).where(table.deleted_at.is_not(None), is_free).order_by(table.id).with_for_update()
    ).all()


def _params_name(field: str, row_id: InstrumentedAttribute[UUID]) -> ColumnElement[bool]:
    return func.jsonb_extract_path_text(Job.params, field) == cast(row_id, String)


def _count(session: Session, table: type[Table], *conditions: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0


def _purge_user(session: Session, user_id: UUID) -> None:
    grave = Grave.of(session, user_id, user_id)
    rows = {"users": 1, "concepts": _count(session, Concept, Concept.user_id == user_id)}
    lineages = select(Lineage.id).where(Lineage.user_id == user_id)
    rows |= {"lineages": _count(session, Lineage, Lineage.user_id == user_id)} | _count_within(session, lineages)
    grave.bury_where(StoredObject.user_id == user_id)
    grave.close(rows)
    session.execute(delete(User).where(User.id == user_id))


def _purge_lineage(session: Session, lineage_id: UUID) -> None:
    grave = Grave.of(session, lineage_id, session.scalars(_owner(Lineage, lineage_id)).one())
    hand_over(session, [lineage_id])
    remember_time(session, lineage_id)
    own = select(Lineage.id).where(Lineage.id == lineage_id)
    rows = {"lineages": 1} | _count_within(session, own)
    grave.bury(select(Version.adapter_object_id).where(Version.lineage_id == lineage_id))
    grave.bury(select(Version.strategy_state_object_id).where(Version.lineage_id == lineage_id))
    grave.bury_work_of(select(Job.id).where(Job.lineage_id == lineage_id))
    grave.bury(_pictures(select(Generation.id).where(Generation.lineage_id == lineage_id)))
    grave.bury(_figures(select(Evaluation.id).where(Evaluation.lineage_id == lineage_id)))
    memos = select(EvaluationMemo.object_id).join(Version, Version.id == EvaluationMemo.version_id)
    grave.bury(memos.where(Version.lineage_id == lineage_id))
    grave.close(rows)
    session.execute(delete(Lineage).where(Lineage.id == lineage_id))


def _purge_concept(session: Session, concept_id: UUID) -> None:
    """A concept's images go; its row stays while a version has learned it, so that an erasure can name it."""
    grave = Grave.of(session, concept_id, session.scalars(_owner(Concept, concept_id)).one())
    grave.bury(select(ConceptImage.object_id).where(ConceptImage.concept_id == concept_id))
    trains_it = (Job.kind == JobKind.TRAIN) & (Job.params["concept_id"].as_string() == str(concept_id))
    jobs = select(Job.id).where(trains_it)
    grave.bury_work_of(jobs)
    forget_checkpoints(session, jobs)
    _drop_sheets(session, grave, concept_id)
    _drop_isolated(session, grave, concept_id)
    session.execute(delete(ConceptImage).where(ConceptImage.concept_id == concept_id))
    is_learned = exists().where(Version.concept_id == Concept.id)
    removed = session.scalars(delete(Concept).where(Concept.id == concept_id, ~is_learned).returning(Concept.id)).all()
    grave.close({"concepts": len(removed)})


def _purge_generation(session: Session, generation_id: UUID) -> None:
    grave = Grave.of(session, generation_id, session.scalars(_owner(Generation, generation_id)).one())
    grave.bury(_pictures(select(Generation.id).where(Generation.id == generation_id)))
    draws_it = Job.params["generation_id"].as_string() == str(generation_id)
    grave.bury_work_of(select(Job.id).where(Job.kind == JobKind.GENERATE, draws_it))
    grave.close({"generations": 1})
    session.execute(delete(Generation).where(Generation.id == generation_id))


def _purge_evaluation(session: Session, evaluation_id: UUID) -> None:
    grave = Grave.of(session, evaluation_id, session.scalars(_owner(Evaluation, evaluation_id)).one())
    own = select(Evaluation.id).where(Evaluation.id == evaluation_id)
    grave.bury(_figures(own))
    grave.close({"evaluations": 1})
    session.execute(delete(Evaluation).where(Evaluation.id == evaluation_id))


def _owner(table: type[Lineage | Concept | Generation | Evaluation], thing_id: UUID) -> Select[UUID]:
    return select(table.user_id).where(table.id == thing_id)


def _count_within(session: Session, lineages: Select[UUID]) -> dict[str, int]:
    return {
        "versions": _count(session, Version, Version.lineage_id.in_(lineages), Version.number > 0),
        "generations": _count(session, Generation, Generation.lineage_id.in_(lineages)),
        "evaluations": _count(session, Evaluation, Evaluation.lineage_id.in_(lineages)),
        "jobs": _count(session, Job, Job.lineage_id.in_(lineages)),
    }


def forget_checkpoints(session: Session, jobs: Select[UUID] | Sequence[UUID]) -> None:
    """Name neither checkpoint nor input of these jobs any more."""
    session.execute(
        update(Job)
        .where(Job.id.in_(jobs), or_(Job.checkpoint_object_id.is_not(None), Job.input_object_id.is_not(None)))
        .values(checkpoint_object_id=None, checkpoint_parent_id=None, checkpoint_step=None, input_object_id=None)
        .execution_options(synchronize_session=False)
    )


def _drop_sheets(session: Session, grave: Grave, concept_id: UUID) -> None:
    """A contact sheet shows the concept's own images; numbers and curves about a deleted concept may stay."""
    shows_it = EvaluationFile.evaluation_id.in_(
        select(Evaluation.id).where(Evaluation.concept_ids.contains([concept_id]))
    ) & EvaluationFile.name.in_((EvaluationFileName.SHEET_PNG, EvaluationFileName.SHEET_SVG))
    grave.bury(select(EvaluationFile.object_id).where(shows_it))
    session.execute(delete(EvaluationFile).where(shows_it).execution_options(synchronize_session=False))


def _drop_isolated(session: Session, grave: Grave, concept_id: UUID) -> None:
    """The adapter that an evaluation has made of the concept's images alone (`worker.jobs.evaluate.isolated`)."""
    is_isolated = EvaluationMemo.key.startswith("isolated ") & EvaluationMemo.version_id.in_(
        select(Version.id).where(Version.concept_id == concept_id)
    )
    grave.bury(select(EvaluationMemo.object_id).where(is_isolated))
    session.execute(delete(EvaluationMemo).where(is_isolated).execution_options(synchronize_session=False))


def _figures(evaluations: Select[UUID]) -> Select[UUID]:
    return select(EvaluationFile.object_id).where(EvaluationFile.evaluation_id.in_(evaluations))


def _pictures(generations: Select[UUID]) -> Select[UUID]:
    return select(GenerationImage.object_id).where(GenerationImage.generation_id.in_(generations))
