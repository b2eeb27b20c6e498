"""Objects: what rows name is live, what is live is named, and in the bucket as it was stored; nothing else is there."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app.db.references import all_named_objects
from app.db.session import transaction
from app.db.tables import ObjectStatus, StoredObject
from app.domain.errors import ObjectLostError
from app.integrity.violations import Rule, Violation
from app.storage import ObjectStore


@dataclass(frozen=True)
class ObjectRows:
    """The objects' rows at one moment, and those among them that another row names."""

    rows: tuple[StoredObject, ...]
    named: frozenset[UUID]
    orphans: tuple[StoredObject, ...]

    @classmethod
    def read(cls, session: Session, stray_age_seconds: float) -> "ObjectRows":
        """As the transaction sees them. A dead or pending row is an orphan from that age on."""
        born_before = func.statement_timestamp() - timedelta(seconds=stray_age_seconds)
        is_orphan = (StoredObject.status != ObjectStatus.LIVE) & (StoredObject.created_at <= born_before)
        return cls(
            rows=tuple(session.scalars(select(StoredObject))),
            named=frozenset(session.scalars(all_named_objects())),
            orphans=tuple(session.scalars(select(StoredObject).where(is_orphan))),
        )

    def live(self) -> list[StoredObject]:
        """Those whose bytes must be there."""
        return [row for row in self.rows if row.status is ObjectStatus.LIVE]


def row_violations(objects: ObjectRows) -> Iterator[Violation]:
    """What the rows alone show."""
    for row in objects.rows:
        is_live, is_named = row.status is ObjectStatus.LIVE, row.id in objects.named
        if is_named and not is_live:
            yield Violation(Rule.OBJECT_NAMED_IS_LIVE, _subject(row), f"a row names it, but it is {row.status.value}")
        if is_live and not is_named:
            yield Violation(Rule.OBJECT_LIVE_IS_NAMED, _subject(row), "no row names it, and it will not be collected")
    for row in objects.orphans:
        detail = f"{row.status.value} since {row.created_at:%Y-%m-%d %H:%M:%S}, and not collected"
        yield Violation(Rule.NO_ORPHAN, _subject(row), detail)


def content_violations(engine: Engine, store: ObjectStore, objects: ObjectRows) -> Iterator[Violation]:
    """Reads every live object. It skips those that were deleted in the meantime.

    Raises:
        StorageError: S3 failed.
    """
    for row in objects.live():
        if (wrong := _wrong(store, row)) is not None and _is_still_live(engine, row.id):
            yield Violation(Rule.OBJECT_AS_STORED, _subject(row), wrong)


def stray_violations(engine: Engine, store: ObjectStore, stray_age_seconds: float) -> Iterator[Violation]:
    """Keys of that age without a row.

    Raises:
        StorageError: S3 failed.
    """
    born_before = datetime.now(UTC) - timedelta(seconds=stray_age_seconds)
    listed = [entry.key for entry in store.list() if entry.modified_at <= born_before]
    # After the listing: a row comes before its key, so that what is listed has its row by now.
    with transaction(engine) as session:
        known = frozenset(session.scalars(select(StoredObject.key)))
    for key in listed:
        if key not in known:
            yield Violation(Rule.NO_ORPHAN, f"key {key}", "no row knows it")


def _wrong(store: ObjectStore, row: StoredObject) -> str | None:
    try:
        size = len(store.get(row))
    except ObjectLostError as error:
        return error.detail
    return None if size == row.size_bytes else f"it has {size} bytes instead of {row.size_bytes}"


def _is_still_live(engine: Engine, object_id: UUID) -> bool:
    with transaction(engine) as session:
        row = session.get(StoredObject, object_id)
        return row is not None and row.status is ObjectStatus.LIVE


def _subject(row: StoredObject) -> str:
    return f"object {row.id} ({row.kind})"
