"""The order in which rows are locked, everywhere, so that Postgres has no deadlock to break.

The user; lineages, by id; concepts; generations and evaluations; jobs, by id; versions; objects. Who needs several
takes them in this order, also where the later ones would have sufficed at first.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.db.evaluation_tables import Evaluation
from app.db.tables import Concept, Generation, Lineage, User, Version
from app.domain.errors import DeletedError


async def lock_user(session: AsyncSession, user_id: UUID) -> None:
    """Take it before anything else if quotas are asked about later. Rows that only name the user need not wait."""
    await session.execute(select(User.id).where(User.id == user_id).with_for_update(key_share=True))


async def lock_belongings(
    session: AsyncSession, table: type[Lineage | Concept | Generation | Evaluation], user_id: UUID
) -> None:
    """Everything in that table that the user has not deleted yet."""
    own = select(table.id).where(table.user_id == user_id, table.deleted_at.is_(None))
    await session.execute(own.order_by(table.id).with_for_update(key_share=True))


def locked_lineages(*which: ColumnElement[bool]) -> Select[UUID]:
    """Locks these lineages; rows that only name one, such as a new generation, need not wait."""
    return select(Lineage.id).where(*which).order_by(Lineage.id).with_for_update(key_share=True)


def lock_lineage(session: Session, lineage_id: UUID) -> Lineage:
    """The lineage, locked by a worker that publishes into it.

    Raises:
        DeletedError: it has been deleted, so nothing may be published into it.
    """
    query = select(Lineage).where(Lineage.id == lineage_id, Lineage.deleted_at.is_(None))
    if (lineage := session.scalar(query.with_for_update(key_share=True))) is None:
        raise DeletedError("The lineage has been deleted.")
    return lineage


def kept_concepts(concept_ids: Collection[UUID]) -> Select[UUID]:
    """Those of the concepts that are not deleted; until the commit nobody deletes them."""
    query = select(Concept.id).where(Concept.id.in_(concept_ids), Concept.deleted_at.is_(None))
    return query.order_by(Concept.id).with_for_update(read=True)


def kept_version(version_id: UUID | None) -> Select[UUID]:
    """The version, if it is there; until the commit nobody erases it."""
    return select(Version.id).where(Version.id == version_id).with_for_update(read=True)
