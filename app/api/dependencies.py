"""What routes ask for: the process's services, the request's transaction, the caller, the page.

All are async although few await: FastAPI would run the others in threads.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.db.pages import Cursor, Window
from app.db.tables import User
from app.domain.errors import NotAuthenticatedError
from app.domain.keys import KeyScope
from app.services.access import Identity, authenticate, insist_on_admin, insist_on_scope
from app.services.context import Services, Work, open_work

_BEARER = HTTPBearer(auto_error=False, scheme_name="API key", description="A key of `POST /v1/keys`.")


async def get_services(request: Request) -> Services:
    """The services that the lifespan opened."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


ServicesOfProcess = Annotated[Services, Depends(get_services)]


async def get_identity(
    request: Request,
    services: ServicesOfProcess,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
) -> Identity:
    """Who is asking. Every method but GET changes something, and takes a key that may."""
    if credentials is None:
        raise NotAuthenticatedError("Send `Authorization: Bearer <API key>`.")
    identity = await authenticate(services, credentials.credentials)
    request.state.user_id = identity.user.id
    insist_on_scope(identity, KeyScope.READ if request.method in ("GET", "HEAD") else KeyScope.WRITE)
    return identity


IdentityOfCaller = Annotated[Identity, Depends(get_identity)]


async def get_caller(identity: IdentityOfCaller) -> User:
    """The user whose API key the request carries."""
    return identity.user


Caller = Annotated[User, Depends(get_caller)]


async def get_admin(identity: IdentityOfCaller) -> User:
    """The caller, who is an admin."""
    insist_on_admin(identity)
    return identity.user


Admin = Annotated[User, Depends(get_admin)]


async def get_work(services: ServicesOfProcess) -> AsyncIterator[Work]:
    """The request's one transaction."""
    async with open_work(services) as work:
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
