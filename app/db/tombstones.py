"""DELETE sets a tombstone: what lies under it is hidden at once, and the sweeper purges it."""

from uuid import UUID

from sqlalchemy import ColumnElement, func, update
from sqlalchemy.sql.dml import ReturningUpdate

from app.db.evaluation_tables import Evaluation
from app.db.tables import Concept, Generation, Lineage, User


def tombstoned(
    table: type[User | Lineage | Concept | Generation | Evaluation], *which: ColumnElement[bool]
) -> ReturningUpdate[UUID]:
    """Puts these rows under a tombstone; gives the ids of those that were under none."""
    alive = update(table).where(table.deleted_at.is_(None), *which)
    buried = alive.values(deleted_at=func.clock_timestamp()).returning(table.id)
    return buried.execution_options(synchronize_session=False)
