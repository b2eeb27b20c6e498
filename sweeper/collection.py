"""Objects that no row needs any more go, then keys that no row names.

Dead rows go after their keys, so that a crash between the two is made good by the next round; `sweeper.purging` and
whatever else puts an end to something only mark its objects as dead.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, delete, exists, func, select, tuple_, update
from sqlalchemy.orm import Session

from app.db.deletion_tables import Deletion
from app.db.objects import buried
from app.db.references import core, objects_named_by
from app.db.session import transaction
from app.db.tables import ErasureDraft, IdempotencyKey, Job, ObjectStatus, StoredObject
from app.domain.deletions import ObjectTally
from app.domain.jobs import TERMINAL
from app.storage import ObjectStore
from sweeper.purging import forget_checkpoints

_IDEMPOTENCY_KEYS_KEPT = timedelta(hours=24)


def drop_finished_checkpoints(session: Session) -> None:
    """A job that has ended needs neither its checkpoint nor its input any more, and publishes nothing more."""
    _drop_finished_drafts(session)
    _drop_unpublished(session)
    # One after the other: each has an index of its own.
    for named in (Job.checkpoint_object_id, Job.input_object_id):
        drop_checkpoints(session, named.is_not(None), Job.status.in_(TERMINAL))


def drop_checkpoints(session: Session, *which: ColumnElement[bool]) -> None:
    """Leave to the collector what these jobs could go on from; one that somebody has locked comes another time."""
    jobs = session.scalars(select(Job.id).where(*which).with_for_update(skip_locked=True)).all()
    if jobs:
        named = objects_named_by([(core(Job), Job.id.in_(jobs))])
        session.execute(buried(StoredObject.id.in_(named)))
        forget_checkpoints(session, jobs)


def _drop_unpublished(session: Session) -> None:
    """What jobs put and did not publish: what a job makes is published before it has ended, or never."""
    ended = StoredObject.job_id.in_(select(Job.id).where(Job.status.in_(TERMINAL)))
    unpublished = (StoredObject.status == ObjectStatus.PENDING) & ended
    session.execute(buried(unpublished))


def _drop_finished_drafts(session: Session) -> None:
    """What an erase job trained without coming to its end."""
    # In one statement: a job that ends between two would have its drafts deleted, and their objects kept.
    ended = ErasureDraft.job_id.in_(select(Job.id).where(Job.status.in_(TERMINAL)))
    drafts = session.execute(
        delete(ErasureDraft)
        .where(ended)
        .returning(ErasureDraft.adapter_object_id, ErasureDraft.strategy_state_object_id)
        .execution_options(synchronize_session=False)
    ).all()
    dead = StoredObject.id.in_([object_id for draft in drafts for object_id in draft if object_id is not None])
    session.execute(buried(dead))


def drop_old_idempotency_keys(session: Session) -> None:
    """An answer is kept for a day."""
    old = IdempotencyKey.created_at < func.statement_timestamp() - _IDEMPOTENCY_KEYS_KEPT
    session.execute(delete(IdempotencyKey).where(old))


def collect(engine: Engine, store: ObjectStore, pending_age_seconds: float, batch: int = 1000) -> int:
    """Delete dead objects, and pending ones that nobody published in that time; how many.

    A dead row stays until its key is gone. So a crash between the two costs only a second DELETE, and a deletion that
    is reported as complete is complete.
    """
    with transaction(engine) as session:
        old = StoredObject.created_at < func.statement_timestamp() - timedelta(seconds=pending_age_seconds)
        pending = (StoredObject.status == ObjectStatus.PENDING) & old
        # From here on nobody can publish them.
        session.execute(buried(pending))
    collected = 0
    last = None
    # Onwards by age: a key that S3 keeps holds up no other, and is tried again in the next round.
    while dead := _dead(engine, last, batch):
        kept = store.delete([row.key for row in dead])
        gone = [row.id for row in dead if row.key not in kept]
        with transaction(engine) as session:
            _remove_rows(session, gone)
        collected += len(gone)
        last = dead[-1]
    with transaction(engine) as session:
        _complete_deletions(session)
    return collected


class _Dead(NamedTuple):
    """An object to be collected."""

    id: UUID
    key: str
    created_at: datetime


def _dead(engine: Engine, after: _Dead | None, batch: int) -> list[_Dead]:
    query = select(StoredObject.id, StoredObject.key, StoredObject.created_at)
    query = query.where(StoredObject.status == ObjectStatus.DEAD)
    if after is not None:
        query = query.where(tuple_(StoredObject.created_at, StoredObject.id) > (after.created_at, after.id))
    with transaction(engine) as session:
        rows = session.execute(query.order_by(StoredObject.created_at, StoredObject.id).limit(batch))
        return [_Dead(*row) for row in rows]


def _remove_rows(session: Session, object_ids: Sequence[UUID]) -> None:
    """Delete the rows, and tell each deletion what of it went: once, since only one sweeper deletes a row."""
    removed = session.execute(
        delete(StoredObject)
        .where(StoredObject.id.in_(object_ids))
        .returning(StoredObject.deletion_id, StoredObject.kind, StoredObject.size_bytes)
        .execution_options(synchronize_session=False)
    ).all()
    for deletion_id in sorted({row.deletion_id for row in removed if row.deletion_id is not None}):
        deletion = session.get(Deletion, deletion_id, with_for_update=True)
        for _, kind, size in [row for row in removed if row.deletion_id == deletion_id and deletion is not None]:
            assert deletion is not None
            deletion.removed = deletion.removed.with_objects(kind, ObjectTally(count=1, bytes=size))


def _complete_deletions(session: Session) -> None:
    is_left = exists().where(StoredObject.deletion_id == Deletion.id)
    is_over = Deletion.purged_at.is_not(None) & Deletion.completed_at.is_(None) & ~is_left
    session.execute(update(Deletion).where(is_over).values(completed_at=func.clock_timestamp()))


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
        removed += len(strays) - len(store.delete(strays))
    return removed
