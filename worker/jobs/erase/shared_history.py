"""What erasing a concept changes, in rows: everything that shares one version 0, locked, replaced and removed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from app.db.erasures import family_lineages, family_versions, member, teaches
from app.db.locks import locked_lineages
from app.db.objects import buried
from app.db.queries import UNFINISHED, canceled
from app.db.references import core, objects_named_by, removed_with, works_on
from app.db.tables import (
    Concept,
    ErasedVersion,
    ErasureDraft,
    Job,
    Lineage,
    StoredObject,
    Version,
)
from app.domain.erasure import Affected, EraseMode, affected, insist_on_refold
from app.domain.errors import DeletedError
from app.domain.jobs import EraseParams, EraseResult, Replacement
from app.domain.lineages import Provenance

Drafts = Mapping[UUID, ErasureDraft]


@dataclass(frozen=True)
class SharedHistory:
    """All that shares one version 0, and what of it holds the concept."""

    versions: Mapping[UUID, Version]
    lineages: Sequence[Lineage]
    affected: Affected


def look(session: Session, lineage_id: UUID, params: EraseParams) -> SharedHistory:
    """The history that a lineage shares, as it is now.

    Raises:
        InvalidInputError: a version cannot be folded without what came before it, as the mode asks.
    """
    versions = session.scalars(family_versions(lineage_id)).all()
    lineages = session.scalars(family_lineages(lineage_id)).all()
    holding = affected([member(version) for version in versions], params.concept_id)
    if params.mode is EraseMode.REFOLD:
        remade = frozenset(holding.remade)
        insist_on_refold([(version.number, version.strategy) for version in versions if version.id in remade])
    return SharedHistory({version.id: version for version in versions}, lineages, holding)


def lock(session: Session, lineage_id: UUID, params: EraseParams) -> SharedHistory | None:
    """The history, which nobody changes until the commit; None when it changed while it was being locked.

    All is locked in the one order that `app.db.locks` tells. Versions are locked because a branch or a generation
    made of one just now locks it too: afterwards either it is seen here, or it fails.

    Raises:
        DeletedError: the lineage has been deleted.
    """
    before = look(session, lineage_id, params)
    ids = [lineage.id for lineage in before.lineages]
    session.execute(locked_lineages(Lineage.id.in_(ids)))
    session.execute(select(Concept.id).where(Concept.id == params.concept_id).with_for_update(key_share=True))
    unfinished = select(Job.id).where(Job.lineage_id.in_(ids), Job.status.in_(UNFINISHED))
    session.execute(unfinished.order_by(Job.id).with_for_update())
    session.execute(
        select(Version.id).where(Version.id.in_(before.affected.all())).order_by(Version.id).with_for_update()
    )
    session.expire_all()
    history = look(session, lineage_id, params)
    own = next((lineage for lineage in history.lineages if lineage.id == lineage_id), None)
    if own is None or own.deleted_at is not None:
        raise DeletedError("The lineage has been deleted.")
    is_same = history.affected == before.affected and {lineage.id for lineage in history.lineages} <= set(ids)
    return history if is_same else None


def replace_versions(
    session: Session, job: Job, params: EraseParams, history: SharedHistory, drafts: Drafts
) -> EraseResult:
    """Put new versions into the place of those that hold the concept, and remove all that was made of these.

    Mode `refold` takes their adapters over; mode `retrain` those of the drafts.
    """
    made = _make(session, history, drafts)
    _move(session, history, made)
    _cancel(session, history, params.concept_id)
    _bury(session, history, params)
    _bury_checkpoints(session, history, job)
    _bury_drafts(session, history, job, [draft for old, draft in drafts.items() if old in made])
    session.execute(delete(Version).where(Version.id.in_(history.affected.all())))
    return EraseResult(
        lineage_id=job.lineage_id,
        mode=params.mode,
        residual=params.mode is EraseMode.REFOLD and bool(made),
        concept_deleted=_delete_concept(session, params.concept_id),
        versions=tuple(
            Replacement(
                lineage_id=history.versions[old].lineage_id,
                version=history.versions[old].number,
                replaced_by=made[old].number if old in made else None,
            )
            for old in history.affected.all()
        ),
    )


def _make(session: Session, history: SharedHistory, drafts: Drafts) -> dict[UUID, Version]:
    """The new versions by the ids of the old ones. Their numbers are new to every branch that will show them."""
    made: dict[UUID, Version] = {}
    ids: dict[UUID, UUID] = {}
    number = max(lineage.next_number for lineage in history.lineages)
    for old_id in history.affected.remade:
        old = history.versions[old_id]
        assert old.parent_id is not None
        new = Version(
            lineage_id=old.lineage_id,
            number=number,
            status=old.status,
            parent_id=history.affected.stand_in(old.parent_id, ids),
            concept_id=old.concept_id,
            taught=old.taught,
            strategy=old.strategy,
            training=old.training,
        )
        if old_id in drafts:
            new.adapter_object_id = drafts[old_id].adapter_object_id
            new.strategy_state_object_id = drafts[old_id].strategy_state_object_id
            new.provenance = drafts[old_id].provenance
        else:
            new.adapter_object_id, new.provenance = old.adapter_object_id, old.provenance
            new.strategy_state_object_id = old.strategy_state_object_id
            if isinstance(old.provenance, Provenance):
                new.provenance = old.provenance.model_copy(update={"residual": True})
        session.add(new)
        session.flush()
        made[old_id], ids[old_id] = new, new.id
        number += 1
    for lineage in history.lineages:
        lineage.next_number = number
    return made


def _move(session: Session, history: SharedHistory, made: Mapping[UUID, Version]) -> None:
    """Heads and forks go to the stand-ins; of the old numbers each lineage remembers that it showed them."""
    ids = {old: new.id for old, new in made.items()}
    for lineage in history.lineages:
        session.add_all(
            ErasedVersion(
                lineage_id=lineage.id, number=old.number, token=None if old.taught is None else old.taught.token
            )
            for old in _shown(history, lineage)
        )
        assert lineage.head_version_id is not None
        lineage.head_version_id = history.affected.stand_in(lineage.head_version_id, ids)
        if lineage.forked_from_version_id is not None:
            lineage.forked_from_version_id = history.affected.stand_in(lineage.forked_from_version_id, ids)
    session.flush()


def _shown(history: SharedHistory, lineage: Lineage) -> list[Version]:
    """The old versions in the lineage's history: its own, and those that its fork leads up to."""
    inherited: set[UUID] = set()
    version_id = lineage.forked_from_version_id
    while version_id is not None:
        inherited.add(version_id)
        version_id = history.versions[version_id].parent_id
    old = [history.versions[version_id] for version_id in history.affected.all()]
    return [version for version in old if version.lineage_id == lineage.id or version.id in inherited]


def _cancel(session: Session, history: SharedHistory, concept_id: UUID) -> None:
    """What would teach the concept again here, and what works on versions that are gone."""
    lineages = [lineage.id for lineage in history.lineages]
    session.execute(canceled(Job.lineage_id.in_(lineages), teaches(concept_id)))
    session.execute(canceled(works_on(Version, history.affected.all())))


def _bury(session: Session, history: SharedHistory, params: EraseParams) -> None:
    """Leave to the collector what was made of the old versions and is not used by the new ones."""
    old = history.affected.all()
    _, *made_of_them = removed_with((core(Version), Version.id.in_(old)))
    session.execute(buried(StoredObject.id.in_(session.scalars(objects_named_by(made_of_them)).all())))
    unused = history.affected.gone if params.mode is EraseMode.REFOLD else old
    session.execute(
        buried(StoredObject.id.in_([o for version_id in unused for o in _objects(history.versions[version_id])]))
    )


def _bury_checkpoints(session: Session, history: SharedHistory, job: Job) -> None:
    """Those of trainings on top of the old versions, and of other erasures here: these may train on top of them."""
    lineages = [lineage.id for lineage in history.lineages]
    erases_here = and_(Job.kind == job.kind, Job.lineage_id.in_(lineages), Job.id != job.id)
    is_stale = or_(Job.checkpoint_parent_id.in_(history.affected.all()), erases_here)
    # Locked, so that no worker names another one between the two statements.
    stale = session.execute(
        select(Job.id, Job.checkpoint_object_id)
        .where(is_stale, Job.checkpoint_object_id.is_not(None))
        .order_by(Job.id)
        .with_for_update()
    ).all()
    session.execute(buried(StoredObject.id.in_([object_id for _, object_id in stale if object_id is not None])))
    session.execute(
        update(Job)
        .where(Job.id.in_([job_id for job_id, _ in stale]))
        .values(checkpoint_object_id=None, checkpoint_parent_id=None, checkpoint_step=None)
        .execution_options(synchronize_session=False)
    )


def _bury_drafts(session: Session, history: SharedHistory, job: Job, used: Sequence[ErasureDraft]) -> None:
    """All of this job, and those of other erasures for versions that are gone; what new versions have stays alive."""
    taken = {o for draft in used for o in _objects(draft)}
    is_stale = or_(ErasureDraft.job_id == job.id, ErasureDraft.version_id.in_(history.affected.all()))
    for objects in session.execute(
        delete(ErasureDraft)
        .where(is_stale)
        .returning(ErasureDraft.adapter_object_id, ErasureDraft.strategy_state_object_id)
        .execution_options(synchronize_session=False)
    ).all():
        session.execute(buried(StoredObject.id.in_([o for o in objects if o is not None and o not in taken])))


def _objects(row: Version | ErasureDraft) -> list[UUID]:
    """What holds its adapter, and what its strategy keeps."""
    return [o for o in (row.adapter_object_id, row.strategy_state_object_id) if o is not None]


def _delete_concept(session: Session, concept_id: UUID) -> bool:
    """Hide the concept, for the sweeper to purge. A lineage of another origin that learns it keeps it."""
    is_held = exists().where(Version.concept_id == concept_id)
    is_asked_for = exists().where(Job.status.in_(UNFINISHED), teaches(concept_id), Job.cancel_requested_at.is_(None))
    deleted = session.scalar(
        update(Concept)
        .where(Concept.id == concept_id, ~is_held, ~is_asked_for)
        .values(deleted_at=func.coalesce(Concept.deleted_at, func.clock_timestamp()), purged_at=None)
        .returning(Concept.id)
    )
    return deleted is not None
