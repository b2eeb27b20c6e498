"""Users, their API keys, and who you are."""

from uuid import UUID

from fastapi import APIRouter, Response

from app.api.dependencies import Admin, Caller, IdentityOfCaller, PageWindow, Transaction
from app.api.documented import ADMIN, READ, REMOVE, WRITE, problems
from app.api.door import Door
from app.api.once import OnlyOnce, created
from app.api.schemas.users import (
    CreatedKeyBody,
    CreatedUserBody,
    KeyBody,
    KeyPage,
    MeBody,
    NewKeyBody,
    NewUserBody,
    QuotaOverridesBody,
    QuotasBody,
    UsageBody,
    UserBody,
    UserPage,
)
from app.domain.errors import ConflictError
from app.domain.quotas import QuotaOverrides
from app.services import quotas, users
from app.services.access import insist_on_scope
from app.services.context import Work
from app.services.idempotency import Answer

router = APIRouter(prefix="/v1", tags=["users"], route_class=Door)


@router.post("/users", status_code=201, response_model=CreatedUserBody, responses=WRITE | ADMIN)
async def create_user(body: NewUserBody, admin: Admin, once: OnlyOnce) -> Response:  # noqa: ARG001
    """Create a user with a first API key, which is shown here only (so a replay by `Idempotency-Key` is a 409)."""

    async def act(work: Work) -> Answer:
        user, key = await users.create_user(work.session, body.name, is_admin=body.is_admin)
        shown = CreatedUserBody(**UserBody.of(user).model_dump(), key=key)
        return created(shown, f"/v1/users/{user.id}", is_secret=True)

    return await once.run(act, body)


@router.get("/users", responses=READ | ADMIN)
async def list_users(admin: Admin, work: Transaction, window: PageWindow) -> UserPage:  # noqa: ARG001
    """List all users (admins only)."""
    page = (await users.list_users(work.session, window)).map(UserBody.of)
    return UserPage(items=list(page.items), next_cursor=page.next_cursor)


@router.put("/users/{user_id}/quotas", responses=WRITE | ADMIN)
async def override_quotas(user_id: UUID, body: QuotaOverridesBody, admin: Admin, work: Transaction) -> QuotasBody:  # noqa: ARG001
    """Give a user quotas of their own (admins only). What is null has the default; the answer is what is in force."""
    await users.override_quotas(work.session, user_id, body.overrides())
    return QuotasBody.of(body.overrides().over(work.services.settings.quotas))


@router.delete("/users/{user_id}", status_code=204, responses=REMOVE | ADMIN | problems(409))
async def delete_user(user_id: UUID, admin: Admin, work: Transaction) -> None:
    """Delete a user with all that is theirs (admins only). `GET /v1/deletions/{user_id}` tells you what is gone."""
    if user_id == admin.id:
        raise ConflictError("An admin cannot delete themselves; another one can.")
    await users.delete_user(work.session, admin.id, user_id)


@router.post("/keys", status_code=201, response_model=CreatedKeyBody, responses=WRITE)
async def create_key(body: NewKeyBody, identity: IdentityOfCaller, once: OnlyOnce) -> Response:
    """Create an API key, whose secret is shown here only (so a replay by `Idempotency-Key` is a 409).

    Its scope is at most that of the key in use.
    """

    async def act(work: Work) -> Answer:
        scope = body.scope or identity.scope
        insist_on_scope(identity, scope)
        key, secret = await users.create_key(work.session, identity.user.id, body.name, scope)
        shown = CreatedKeyBody(**KeyBody.of(key).model_dump(), key=secret)
        return created(shown, f"/v1/keys/{key.id}", is_secret=True)

    return await once.run(act, body)


@router.get("/keys", responses=READ)
async def list_keys(caller: Caller, work: Transaction, window: PageWindow) -> KeyPage:
    """List your API keys, without their secrets; revoked ones are gone."""
    page = (await users.list_keys(work.session, caller.id, window)).map(KeyBody.of)
    return KeyPage(items=list(page.items), next_cursor=page.next_cursor)


@router.delete("/keys/{key_id}", status_code=204, responses=REMOVE)
async def revoke_key(key_id: UUID, identity: IdentityOfCaller, work: Transaction) -> None:
    """Revoke an API key, at once. A key cannot revoke one of a larger scope."""
    await users.revoke_key(work.session, identity, key_id)


@router.get("/me", responses=problems(401, 503))
async def get_me(identity: IdentityOfCaller, work: Transaction) -> MeBody:
    """Tell who you are, how much you have, and how much you may have."""
    user = identity.user
    usage = await quotas.measure_usage(work.session, user.id)
    allowed = (user.quotas or QuotaOverrides()).over(work.services.settings.quotas)
    return MeBody(
        user=UserBody.of(user), scope=identity.scope, usage=UsageBody.of(usage), quotas=QuotasBody.of(allowed)
    )
