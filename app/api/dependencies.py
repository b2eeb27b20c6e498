"""What routes ask for: the process's services, the request's transaction, the caller, the page.

All are async although few await: FastAPI would run the others in threads.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.db.pages import Cursor, Window
from app.domain.errors import NotAuthenticatedError
from app.domain.keys import KeyScope
from app.services.access import CallingUser, Identity, authenticate, insist_on_admin, insist_on_scope
from app.services.context import Services, Work, open_work

_BEARER = HTTPBearer(auto_error=False, scheme_name="API key", description="A key of `POST /v1/keys`.")


async def get_services(request: Request) -> Services:
    """The services that the lifespan opened."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


ServicesOfProcess = Annotated[Services, Depends(get_services)]


async def identify(request: Request, services: Services, price: float) -> Identity:
    """Who is asking, as the door finds out. Every method but GET changes something, and takes a key that may.

    Raises:
        NotAuthenticatedError: no valid key.
        RateLimitedError: it sends too fast.
        ForbiddenError: its scope is too small.
    """
    identity = await authenticate(services, await get_key(await _BEARER(request)), price)
    request.state.user_id = identity.user.id
    insist_on_scope(identity, KeyScope.READ if request.method in ("GET", "HEAD") else KeyScope.WRITE)
    request.state.identity = identity
    return identity


async def get_key(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> str:
    """The key that the request carries; nobody has looked yet whose it is.

    Raises:
        NotAuthenticatedError: it carries none.
    """
    if credentials is None:
        raise NotAuthenticatedError("Send `Authorization: Bearer <API key>`.")
    return credentials.credentials


UnprovedKey = Annotated[str, Depends(get_key)]


async def get_identity(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],  # noqa: ARG001 - documents the key
) -> Identity:
    """Whom the door let in. A route that depends on this one takes a key, before its body is read (`app.api.door`)."""
    identity = request.state.identity
    assert isinstance(identity, Identity)
    return identity


IdentityOfCaller = Annotated[Identity, Depends(get_identity)]


async def get_caller(identity: IdentityOfCaller) -> CallingUser:
    """The user whose API key the request carries."""
    return identity.user


Caller = Annotated[CallingUser, Depends(get_caller)]


async def get_admin(identity: IdentityOfCaller) -> CallingUser:
    """The caller, who is an admin."""
    insist_on_admin(identity)
    return identity.user


Admin = Annotated[CallingUser, Depends(get_admin)]


async def get_work(services: ServicesOfProcess, caller: Caller) -> AsyncIterator[Work]:
    """The request's one transaction."""
    async with open_work(services, caller.id) as work:
        yield work


# Scope "function": committed before the answer is sent, so that an answer never tells what a failed commit undid.
Transaction = Annotated[Work, Depends(get_work, scope="function")]


async def get_window(
    limit: Annotated[int, Query(ge=1, le=200, description="At most this many items.")] = 50,
    cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the previous page.")] = None,
) -> Window:
    """Which page is asked for."""
    return Window(limit, None if cursor is None else Cursor.decode(cursor))


PageWindow = Annotated[Window, Depends(get_window)]
