"""The worker's reads and writes of S3: a fenced pending row, then the put; publishing makes the row live."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.db.leases import Claim, LeaseLostError
from app.db.objects import buried, published
from app.db.session import transaction
from app.db.tables import Job, ObjectStatus, StoredObject
from app.domain.errors import ObjectLostError
from app.storage import ObjectStore, describe_object


class WorkerObjects:
    """Objects as one attempt at a job sees them."""

    def __init__(self, engine: Engine, store: ObjectStore, claim: Claim, user_id: UUID) -> None:
        self._engine = engine
        self._store = store
        self._claim = claim
        self._user_id = user_id

    def put(self, kind: str, data: bytes, content_type: str) -> StoredObject:
        """Store `data` as a pending object.

        Raises:
            LeaseLostError: this attempt no longer holds the job; nothing was written.
            StorageError: S3 failed.
        """
        row = describe_object(self._user_id, kind, data, content_type)
        row.job_id = self._claim.job_id
        with transaction(self._engine) as session:
            if session.scalar(select(Job.id).where(self._claim.fence()).with_for_update(read=True)) is None:
                raise LeaseLostError("The lease was lost before an object was written.")
            session.add(row)
        self._store.put(row, data)
        return row

    def get(self, object_id: UUID) -> bytes:
        """The bytes of a live object, proved by their hash.

        Raises:
            ObjectLostError: there is no such object, or it is not what was stored.
            StorageError: S3 failed.
        """
        with transaction(self._engine) as session:
            row = session.get(StoredObject, object_id)
        if row is None or row.status is not ObjectStatus.LIVE:
            raise ObjectLostError(f"Object {object_id} is gone.")
        return self._store.get(row)


def make_live(session: Session, rows: Iterable[StoredObject]) -> None:
    """Publish pending objects, within the transaction that names them.

    Raises:
        ObjectLostError: one of them was collected meanwhile.
    """
    ids = [row.id for row in rows]
    if len(session.scalars(published(ids)).all()) != len(ids):
        raise ObjectLostError("An object was collected before it could be published.")


def make_dead(session: Session, object_id: UUID) -> None:
    """Leave an object to the collector."""
    session.execute(buried(StoredObject.id == object_id))
