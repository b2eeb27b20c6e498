"""Reports of deletions: how far they are, and how much is gone."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.deletion_tables import Deletion
from app.db.pages import Page, Window, fetch_page
from app.domain.deletions import DeletedKind
from app.domain.errors import NotFoundError


def note_deletion(session: AsyncSession, user_id: UUID, kind: DeletedKind, thing_id: UUID) -> None:
    """Begin the report of a deletion, in the transaction that sets the tombstone; the sweeper goes on with it."""
    session.add(Deletion(id=thing_id, user_id=user_id, kind=kind))


async def list_deletions(session: AsyncSession, user_id: UUID, window: Window) -> Page[Deletion]:
    """What the user has deleted, newest first."""
    page = await fetch_page(session, select(Deletion).where(Deletion.user_id == user_id), Deletion, window)
    return page.map(lambda row: row[0])


async def get_deletion(session: AsyncSession, user_id: UUID, thing_id: UUID) -> Deletion:
    """The report of one deletion, by the id of what was deleted.

    Raises:
        NotFoundError: the user has deleted nothing of that id.
    """
    query = select(Deletion).where(Deletion.id == thing_id, Deletion.user_id == user_id)
    if (deletion := await session.scalar(query)) is None:
        raise NotFoundError(f"You have deleted nothing with the id {thing_id}.")
    return deletion
