"""Who is asking, and how fast: from an API key to its user."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, String, bindparam, func, or_, select, update

from app.db.looks import Look
from app.db.session import async_transaction
from app.db.tables import ApiKey, User
from app.domain.errors import ForbiddenError, NotAuthenticatedError
from app.domain.keys import KeyScope, hash_key
from app.domain.quotas import QuotaOverrides
from app.services.context import Services

_LAST_USED_PRECISION = timedelta(minutes=1)


@dataclass(frozen=True)
class CallingUser:
    """The user who is asking."""

    id: UUID
    name: str
    is_admin: bool
    quotas: QuotaOverrides | None
    created_at: datetime


@dataclass(frozen=True)
class Identity:
    """Who is asking, and with a key of which scope."""

    user: CallingUser
    scope: KeyScope


def is_valid() -> tuple[ColumnElement[bool], ...]:
    """Whether the key of the hash `sha256` lets anybody in."""
    return ApiKey.sha256 == bindparam("sha256", type_=String()), ApiKey.revoked_at.is_(None), User.deleted_at.is_(None)


def is_use_untold() -> ColumnElement[bool]:
    """Whether the key's last use is to be noted: it is told to the minute."""
    return or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.statement_timestamp() - _LAST_USED_PRECISION)


_CALLER = Look(
    select(User.id, User.name, User.is_admin, User.quotas, User.created_at, ApiKey.id, ApiKey.scope, is_use_untold())
    .join(ApiKey, ApiKey.user_id == User.id)
    .where(*is_valid())
)


async def authenticate(services: Services, key: str, price: float) -> Identity:
    """The user whose key this is, who pays that price for the request.

    Raises:
        NotAuthenticatedError: no such key, a revoked one, or one of a deleted user.
        RateLimitedError: the user asks too fast.
    """
    sha256 = hash_key(key)
    services.paces.insist_on_known(sha256)
    row = await services.looks.one(_CALLER, sha256=sha256)
    if row is None:
        raise unknown_key()
    caller, (key_id, scope, is_untold) = CallingUser(*row[:5]), row[5:]
    services.paces.charge(caller.id, sha256, price)
    if is_untold:
        await note_use(services, key_id)
    return Identity(caller, scope)


async def note_use(services: Services, key_id: UUID) -> None:
    """Note that the key was used just now."""
    async with async_transaction(services.engine) as session:
        await session.execute(
            update(ApiKey)
            .where(ApiKey.id == key_id, is_use_untold())
            .values(last_used_at=func.statement_timestamp())
            .execution_options(synchronize_session=False)
        )


def unknown_key() -> NotAuthenticatedError:
    """What a key meets that lets nobody in."""
    return NotAuthenticatedError("This API key is not known, or it has been revoked.")


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
