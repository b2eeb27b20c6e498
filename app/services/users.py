"""Users and their API keys."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.pages import Page, Window, fetch_page
from app.db.queries import UNFINISHED
from app.db.tables import ApiKey, Concept, Generation, Job, Lineage, User, Version
from app.domain.errors import ConflictError, NotFoundError
from app.domain.keys import hash_key, new_key
from app.services.jobs import request_cancel


@dataclass(frozen=True)
class Usage:
    """How much a user has."""

    concepts: int
    lineages: int
    versions: int
    generations: int
    unfinished_jobs: int


async def create_user(session: AsyncSession, name: str, *, is_admin: bool) -> tuple[User, str]:
    """A user and the first key, which is never shown again.

    Raises:
        ConflictError: the name is taken.
    """
    user = User(name=name, is_admin=is_admin)
    session.add(user)
    try:
        await session.flush()
    except IntegrityError as error:
        raise ConflictError(f"There is a user named {name} already.") from error
    _, key = await create_key(session, user.id, "first key")
    return user, key


async def list_users(session: AsyncSession, window: Window) -> Page[User]:
    """All users, newest first."""
    page = await fetch_page(session, select(User).where(User.deleted_at.is_(None)), User, window)
    return page.map(lambda row: row[0])


async def delete_user(session: AsyncSession, user_id: UUID) -> None:
    """Hide the user and everything that is theirs; the sweeper purges it.

    Raises:
        NotFoundError: there is no such user.
    """
    now = func.clock_timestamp()
    deleted = await session.scalar(
        update(User).where(User.id == user_id, User.deleted_at.is_(None)).values(deleted_at=now).returning(User.id)
    )
    if deleted is None:
        raise NotFoundError(f"There is no user {user_id}.")
    # Lineages first: a worker that publishes locks its lineage before anything else.
    for table in (Lineage, Concept, Generation):
        await session.execute(
            update(table).where(table.user_id == user_id, table.deleted_at.is_(None)).values(deleted_at=now)
        )
    await request_cancel(session, Job.user_id == user_id)


async def create_key(session: AsyncSession, user_id: UUID, name: str) -> tuple[ApiKey, str]:
    """A new key of the user, and its secret, which is never shown again."""
    secret = new_key()
    key = ApiKey(user_id=user_id, name=name, sha256=hash_key(secret))
    session.add(key)
    await session.flush()
    return key, secret


async def list_keys(session: AsyncSession, user_id: UUID, window: Window) -> Page[ApiKey]:
    """The user's keys that are not revoked, newest first."""
    query = select(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    page = await fetch_page(session, query, ApiKey, window)
    return page.map(lambda row: row[0])


async def revoke_key(session: AsyncSession, user_id: UUID, key_id: UUID) -> None:
    """End a key at once.

    Raises:
        NotFoundError: the user has no such key.
    """
    revoked = await session.scalar(
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.clock_timestamp())
        .returning(ApiKey.id)
    )
    if revoked is None:
        raise NotFoundError(f"There is no API key {key_id}.")


async def measure_usage(session: AsyncSession, user_id: UUID) -> Usage:
    """How much the user has."""
    concepts = select(func.count(Concept.id)).where(Concept.user_id == user_id, Concept.deleted_at.is_(None))
    lineages = select(Lineage.id).where(Lineage.user_id == user_id, Lineage.deleted_at.is_(None))
    counts = select(
        concepts.scalar_subquery(),
        select(func.count()).select_from(lineages.subquery()).scalar_subquery(),
        # Version 0 is the base itself, and nobody's doing.
        select(func.count(Version.id)).where(Version.lineage_id.in_(lineages), Version.number > 0).scalar_subquery(),
        select(func.count(Generation.id))
        .where(Generation.lineage_id.in_(lineages), Generation.deleted_at.is_(None))
        .scalar_subquery(),
        select(func.count(Job.id)).where(Job.user_id == user_id, Job.status.in_(UNFINISHED)).scalar_subquery(),
    )
    return Usage(*(await session.execute(counts)).one())
