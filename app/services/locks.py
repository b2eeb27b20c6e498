"""The order in which rows are locked, everywhere, so that Postgres has no deadlock to break.

The user; lineages, by id; concepts; generations and evaluations; jobs, by id; versions; objects. Who needs several
takes them in this order, also where the later ones would have sufficed at first.
"""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.evaluation_tables import Evaluation
from app.db.tables import Concept, Generation, Lineage, User


async def lock_user(session: AsyncSession, user_id: UUID) -> None:
    """Before anything else, by whoever asks about quotas later on; rows that only name the user need not wait."""
    await session.execute(select(User.id).where(User.id == user_id).with_for_update(key_share=True))


async def lock_belongings(
    session: AsyncSession, table: type[Lineage | Concept | Generation | Evaluation], user_id: UUID
) -> None:
    """Everything in that table that the user has not deleted yet."""
    own = select(table.id).where(table.user_id == user_id, table.deleted_at.is_(None))
    await session.execute(own.order_by(table.id).with_for_update(key_share=True))
