"""What is under a tombstone goes for good: its rows in one transaction, which leaves its objects to the collector.

Each thing is counted on the way, for the report of its deletion (`app.db.deletion_tables`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, exists, func, or_, select, union, update
from sqlalchemy import Table as CoreTable
from sqlalchemy.orm import Session

from app.db.deletion_tables import Deletion
from app.db.erasures import teaches
from app.db.evaluation_tables import Evaluation, EvaluationFile, EvaluationMemo
from app.db.histories import hand_over
from app.db.references import Rows, core, objects_named_by, removed_with, works_on, works_on_it
from app.db.tables import (
    Concept,
    ConceptImage,
    ErasureDraft,
    Generation,
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
from app.domain.jobs import JobStatus

Tombstone = type[User] | type[Lineage] | type[Concept] | type[Generation] | type[Evaluation]

_TOMBSTONES: tuple[Tombstone, ...] = (User, Lineage, Concept, Generation, Evaluation)

_REPORTED = (User, Concept, Lineage, Version, Generation, Evaluation, Job)


@dataclass(frozen=True)
class Tomb:
    """Something under a tombstone."""

    table: Tombstone
    id: UUID


def tombs(session: Session) -> list[Tomb]:
    """What is under a tombstone and in no running job's hands.

    Deleting it canceled its jobs, so a running one ends at its next heartbeat or with its lease.
    """
    return [Tomb(table, id_) for table in _TOMBSTONES for id_ in session.scalars(_gone(table).order_by(table.id))]


def purge(session: Session, tomb: Tomb) -> None:
    """Remove it, unless another sweeper is at it, or a job is; its objects are left to the collector."""
    if session.scalar(_gone(tomb.table).where(tomb.table.id == tomb.id).with_for_update(skip_locked=True)) is None:
        return
    if issubclass(tomb.table, User):
        _purge_user(session, tomb.id)
    elif issubclass(tomb.table, Concept):
        _purge_concept(session, tomb.id)
    else:
        _purge(session, tomb.table, tomb.id)


@dataclass(frozen=True)
class Grave:
    """Where what is removed is written down: the deletion of the thing itself, or of the user with all that is theirs.

    None for an erasure, which reports in the result of its job.
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

    def bury(self, condition: ColumnElement[bool]) -> None:
        """Leave those objects to the collector for which that holds."""
        deletion_id = None if self.deletion is None else self.deletion.id
        self.session.execute(
            update(StoredObject)
            .where(condition)
            .values(status=ObjectStatus.DEAD, deletion_id=func.coalesce(deletion_id, StoredObject.deletion_id))
            .execution_options(synchronize_session=False)
        )

    def bury_named_by(self, *rows: Rows) -> None:
        """Leave to the collector what these rows name."""
        self.bury(StoredObject.id.in_(objects_named_by(rows)))

    def bury_work_of(self, jobs: Select[UUID]) -> None:
        """What these jobs have kept to go on from, were given, and have put without publishing it."""
        self.bury_named_by((core(Job), Job.id.in_(jobs)), (core(ErasureDraft), ErasureDraft.job_id.in_(jobs)))
        self.bury(StoredObject.job_id.in_(jobs) & (StoredObject.status == ObjectStatus.PENDING))
        forget_checkpoints(self.session, jobs)

    def close(self, rows: Mapping[str, int]) -> None:
        """The rows are gone, so many of each sort."""
        if self.deletion is not None:
            self.deletion.removed = self.deletion.removed.with_rows(rows)
            if self.deletion.purged_at is None:
                self.deletion.purged_at = self.session.scalar(select(func.clock_timestamp()))
            self.session.flush()


def _gone(table: Tombstone) -> Select[UUID]:
    is_free = ~exists().where(Job.status == JobStatus.RUNNING, works_on_it(table))
    query = select(table.id).where(table.deleted_at.is_not(None), is_free)
    return query.where(Concept.purged_at.is_(None)) if table is Concept else query


def _purge_user(session: Session, user_id: UUID) -> None:
    grave = Grave.of(session, user_id, user_id)
    # By the owner, which objects name without a foreign key: nothing of theirs stays, whatever named it.
    grave.bury(StoredObject.user_id == user_id)
    grave.close(_count(session, (core(User), User.id == user_id)))
    session.execute(delete(User).where(User.id == user_id))


def _purge(session: Session, table: type[Lineage | Generation | Evaluation], thing_id: UUID) -> None:
    """The thing goes, with all that Postgres removes along with it, and the work of the jobs on it."""
    grave = Grave.of(session, thing_id, _owner(session, table, thing_id))
    if table is Lineage:
        hand_over(session, [thing_id])
        remember_time(session, thing_id)
    own = (core(table), table.id == thing_id)
    grave.bury_work_of(select(Job.id).where(works_on(table, [thing_id])))
    grave.bury_named_by(*removed_with(own))
    grave.close(_count(session, own))
    if table is Lineage:
        _look_again(session, thing_id)
    session.execute(delete(table).where(table.id == thing_id))


def _look_again(session: Session, lineage_id: UUID) -> None:
    """At the deleted concepts whose rows wait for their last version to go."""
    learned = select(Version.concept_id).where(Version.lineage_id == lineage_id)
    waiting = Concept.id.in_(learned), Concept.purged_at.is_not(None)
    session.execute(update(Concept).where(*waiting).values(purged_at=None))


def _purge_concept(session: Session, concept_id: UUID) -> None:
    """A concept's images go; its row stays while a version has learned it, so that an erasure can name it."""
    grave = Grave.of(session, concept_id, _owner(session, Concept, concept_id))
    grave.bury_named_by(*removed_with((core(Concept), Concept.id == concept_id)))
    grave.bury_work_of(select(Job.id).where(teaches(concept_id)))
    _drop_sheets(session, grave, concept_id)
    _drop_isolated(session, grave, concept_id)
    session.execute(delete(ConceptImage).where(ConceptImage.concept_id == concept_id))
    session.execute(update(Concept).where(Concept.id == concept_id).values(purged_at=func.clock_timestamp()))
    is_learned = exists().where(Version.concept_id == Concept.id)
    removed = session.scalars(delete(Concept).where(Concept.id == concept_id, ~is_learned).returning(Concept.id)).all()
    grave.close({"concepts": len(removed)})


def _owner(session: Session, table: type[Lineage | Concept | Generation | Evaluation], thing_id: UUID) -> UUID:
    return session.scalars(select(table.user_id).where(table.id == thing_id)).one()


def _count(session: Session, rows: Rows) -> dict[str, int]:
    """How many rows go with these, for each table that a report lists."""
    parts: dict[CoreTable, list[ColumnElement[bool]]] = {}
    for table, condition in removed_with(rows):
        parts.setdefault(table, []).append(condition)
    counts = {}
    for reported in _REPORTED:
        conditions = parts.get(core(reported), [])
        if conditions:
            ids = union(*(select(reported.id).where(condition, *_made(reported)) for condition in conditions))
            counts[core(reported).name] = session.scalar(select(func.count()).select_from(ids.subquery())) or 0
    return counts


def _made(table: type[Table]) -> list[ColumnElement[bool]]:
    """Version 0 is the base itself, and nobody's doing."""
    return [Version.number > 0] if table is Version else []


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
    owner = select(Concept.user_id).where(Concept.id == concept_id).scalar_subquery()
    shows_it = EvaluationFile.evaluation_id.in_(
        select(Evaluation.id).where(Evaluation.user_id == owner, Evaluation.concept_ids.contains([concept_id]))
    ) & EvaluationFile.name.in_((EvaluationFileName.SHEET_PNG, EvaluationFileName.SHEET_SVG))
    grave.bury_named_by((core(EvaluationFile), shows_it))
    session.execute(delete(EvaluationFile).where(shows_it).execution_options(synchronize_session=False))


def _drop_isolated(session: Session, grave: Grave, concept_id: UUID) -> None:
    """The adapter that an evaluation has trained on the concept alone (`worker.jobs.evaluate.isolated_training`)."""
    is_isolated = EvaluationMemo.key.startswith("isolated ") & EvaluationMemo.version_id.in_(
        select(Version.id).where(Version.concept_id == concept_id)
    )
    grave.bury_named_by((core(EvaluationMemo), is_isolated))
    session.execute(delete(EvaluationMemo).where(is_isolated).execution_options(synchronize_session=False))
