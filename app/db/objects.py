"""What becomes of an object's row: live when something names it, dead when nothing needs it any more."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import ColumnElement, Update, update
from sqlalchemy.sql.dml import ReturningUpdate

from app.db.tables import ObjectStatus, StoredObject


def published(object_ids: Collection[UUID]) -> ReturningUpdate[UUID]:
    """Makes pending objects live, in the transaction that names them; gives the ids of those that were still there."""
    pending = StoredObject.id.in_(object_ids), StoredObject.status == ObjectStatus.PENDING
    return update(StoredObject).where(*pending).values(status=ObjectStatus.LIVE).returning(StoredObject.id)


def buried(*which: ColumnElement[bool]) -> Update:
    """Leaves these objects to the collector."""
    dead = update(StoredObject).where(*which).values(status=ObjectStatus.DEAD)
    return dead.execution_options(synchronize_session=False)
