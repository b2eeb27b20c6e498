"""Who is asking: from an API key to its user."""

from datetime import timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.db.session import async_transaction
from app.db.tables import ApiKey, User
from app.domain.errors import ForbiddenError, NotAuthenticatedError
from app.domain.keys import hash_key

# Finer would turn every read of the API into a write.
_LAST_USED_PRECISION = timedelta(minutes=1)


async def authenticate(engine: AsyncEngine, key: str) -> User:
    """The user whose key this is; a transaction of its own, so that no slow upload holds one open.

    Raises:
        NotAuthenticatedError: no such key, a revoked one, or one of a deleted user.
    """
    async with async_transaction(engine) as session:
        row = (
            await session.execute(
                select(ApiKey, User)
                .join(User, User.id == ApiKey.user_id)
                .where(ApiKey.sha256 == hash_key(key), ApiKey.revoked_at.is_(None), User.deleted_at.is_(None))
            )
        ).one_or_none()
        if row is None:
            raise NotAuthenticatedError("This API key is not known, or it has been revoked.")
        await _note_use(session, row[0])
        return row[1]


async def _note_use(session: AsyncSession, key: ApiKey) -> None:
    is_due = or_(
        ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.clock_timestamp() - _LAST_USED_PRECISION
    )  # fmt: skip
    await session.execute(
        update(ApiKey)
        .where(ApiKey.id == key.id, is_due)
        .values(last_used_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )


def insist_on_admin(user: User) -> None:
    """Let only admins pass.

    Raises:
        ForbiddenError: the user is none.
    """
    if not user.is_admin:
        raise ForbiddenError("Only an admin's API key may do that.")
