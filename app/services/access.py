"""Who is asking, and how fast: from an API key to its user."""

import math
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, case, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.session import async_transaction
from app.db.tables import ApiKey, User
from app.domain.errors import ForbiddenError, NotAuthenticatedError, RateLimitedError
from app.domain.keys import KeyScope, hash_key
from app.services.context import Services
from app.settings import Settings

_LAST_USED_PRECISION = timedelta(minutes=1)


@dataclass(frozen=True)
class Identity:
    """Who is asking, and with a key of which scope."""

    user: User
    scope: KeyScope


async def authenticate(services: Services, key: str) -> Identity:
    """The user whose key this is; a transaction of its own, so that no slow upload holds one open.

    Raises:
        NotAuthenticatedError: no such key, a revoked one, or one of a deleted user.
        RateLimitedError: the key sends too fast.
    """
    async with async_transaction(services.engine) as session:
        row = (
            await session.execute(
                select(ApiKey, User)
                .join(User, User.id == ApiKey.user_id)
                .where(ApiKey.sha256 == hash_key(key), ApiKey.revoked_at.is_(None), User.deleted_at.is_(None))
            )
        ).one_or_none()
        if row is None:
            raise NotAuthenticatedError("This API key is not known, or it has been revoked.")
        await _note_use(session, row[0].id, services.settings)
        return Identity(row[1], row[0].scope)


async def _note_use(session: AsyncSession, key_id: UUID, settings: Settings) -> None:
    """Count the request against the key's rate: GCRA, the leaky bucket of one number (ITU-T I.371, annex A).

    In Postgres, where the key is read anyway: the limit holds over all front ends, and needs no Redis to be up.
    """
    # Nothing is lost that matters when a crash forgets the last moments of this.
    await session.execute(text("SET LOCAL synchronous_commit = off"))
    interval = timedelta(seconds=1 / settings.requests_per_second)
    ahead = interval * (settings.requests_burst - 1)
    now = func.clock_timestamp()
    noted = await session.scalar(
        update(ApiKey)
        .where(ApiKey.id == key_id, or_(ApiKey.paced_until.is_(None), ApiKey.paced_until <= now + ahead))
        .values(paced_until=func.greatest(ApiKey.paced_until, now) + interval, last_used_at=_to_the_minute())
        .returning(ApiKey.id)
        .execution_options(synchronize_session=False)
    )
    if noted is None:
        await _refuse(session, key_id, settings, ahead)


def _to_the_minute() -> ColumnElement[object]:
    now = func.clock_timestamp()
    is_recent = ApiKey.last_used_at >= now - _LAST_USED_PRECISION
    return case((is_recent, ApiKey.last_used_at), else_=now)


async def _refuse(session: AsyncSession, key_id: UUID, settings: Settings, ahead: timedelta) -> None:
    wait = func.extract("epoch", ApiKey.paced_until - func.clock_timestamp())
    seconds = float(await session.scalar(select(wait).where(ApiKey.id == key_id)) or 0) - ahead.total_seconds()
    detail = (
        f"This API key has sent {settings.requests_burst} requests ahead of {settings.requests_per_second:g} a second."
    )
    raise RateLimitedError(detail, retry_after_seconds=max(1, math.ceil(seconds)))


def insist_on_scope(identity: Identity, needed: KeyScope) -> None:
    """Let only keys of a large enough scope pass.

    Raises:
        ForbiddenError: the key's scope is smaller.
    """
    if not identity.scope.covers(needed):
        raise ForbiddenError(f"This takes an API key of scope {needed.value}; yours has scope {identity.scope.value}.")


def insist_on_admin(identity: Identity) -> None:
    """Let only admins pass, with a key of scope admin.

    Raises:
        ForbiddenError: the user is none, or the key's scope is smaller.
    """
    if not identity.user.is_admin:
        raise ForbiddenError("Only an admin's API key may do that.")
    insist_on_scope(identity, KeyScope.ADMIN)
