"""Users and their API keys."""

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.evaluation_tables import Evaluation
from app.db.locks import lock_belongings, lock_user
from app.db.pages import Page, Window, fetch_page
from app.db.tables import ApiKey, Concept, Generation, Job, Lineage, User
from app.db.tombstones import tombstoned
from app.domain.deletions import DeletedKind
from app.domain.errors import ConflictError, Fault, NotFoundError, QuotaReachedError
from app.domain.keys import KeyScope, hash_key, new_key
from app.domain.quotas import QuotaOverrides
from app.services.access import Identity, insist_on_scope
from app.services.deletions import note_deletion
from app.services.jobs import request_cancel

MAX_KEYS = 50
"""Of one user, revoked ones aside."""


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
    _, key = await create_key(session, user.id, "first key", KeyScope.ADMIN if is_admin else KeyScope.WRITE)
    return user, key


async def list_users(session: AsyncSession, window: Window) -> Page[User]:
    """All users, newest first."""
    page = await fetch_page(session, select(User).where(User.deleted_at.is_(None)), User, window)
    return page.map(lambda row: row[0])


async def override_quotas(session: AsyncSession, user_id: UUID, overrides: QuotaOverrides) -> None:
    """Give the user quotas of their own.

    Raises:
        NotFoundError: there is no such user.
    """
    user = await session.scalar(select(User).where(User.id == user_id, User.deleted_at.is_(None)).with_for_update())
    if user is None:
        raise NotFoundError(f"There is no user {user_id}.")
    user.quotas = overrides


async def delete_user(session: AsyncSession, admin_id: UUID, user_id: UUID) -> None:
    """Hide the user and everything that is theirs; the sweeper purges it, and the report is the admin's.

    Raises:
        NotFoundError: there is no such user.
    """
    if await session.scalar(tombstoned(User, User.id == user_id)) is None:
        raise NotFoundError(f"There is no user {user_id}.")
    note_deletion(session, admin_id, DeletedKind.USER, user_id)
    for table in (Lineage, Concept, Generation, Evaluation):
        await lock_belongings(session, table, user_id)
        await session.execute(tombstoned(table, table.user_id == user_id))
    await request_cancel(session, Job.user_id == user_id)


async def create_key(session: AsyncSession, user_id: UUID, name: str, scope: KeyScope) -> tuple[ApiKey, str]:
    """A new key of the user, and its secret, which is never shown again.

    Raises:
        QuotaReachedError: the user has the most that anybody may have.
    """
    await lock_user(session, user_id)
    in_use = select(func.count(ApiKey.id)).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    if (count := await session.scalar(in_use) or 0) >= MAX_KEYS:
        fault = Fault(field="keys", message=f"{count} of {MAX_KEYS} used")
        raise QuotaReachedError(f"You have {count} API keys, the most there may be. Revoke one.", (fault,))
    secret = new_key()
    key = ApiKey(user_id=user_id, name=name, sha256=hash_key(secret), scope=scope)
    session.add(key)
    await session.flush()
    return key, secret


async def list_keys(session: AsyncSession, user_id: UUID, window: Window) -> Page[ApiKey]:
    """The user's keys that are not revoked, newest first."""
    query = select(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    page = await fetch_page(session, query, ApiKey, window)
    return page.map(lambda row: row[0])


async def revoke_key(session: AsyncSession, identity: Identity, key_id: UUID) -> None:
    """End a key at once.

    Raises:
        NotFoundError: the user has no such key.
        ForbiddenError: its scope is larger than that of the key in use.
    """
    scope = await session.scalar(
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.user_id == identity.user.id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.clock_timestamp())
        .returning(ApiKey.scope)
    )
    if scope is None:
        raise NotFoundError(f"There is no API key {key_id}.")
    insist_on_scope(identity, scope)
