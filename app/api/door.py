"""The door of every route: first who is asking, and how fast; only then is a byte of the body read."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from app.api.body import Body
from app.api.dependencies import get_identity, get_services, get_window, identify
from app.api.prices import price_of


class Door(APIRoute):
    """A route that asks for the key before FastAPI reads the body, which it does before any dependency."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler behind the door."""
        handle = super().get_route_handler()
        is_open = not _depends_on(self.dependant, get_identity)
        is_page = _depends_on(self.dependant, get_window)
        takes_json = self.body_field is not None

        async def enter(request: Request) -> Response:
            services = await get_services(request)
            body = Body(request.scope, request.receive, services.settings.min_body_bytes_per_second)
            request = Request(request.scope, body.receive)
            request.state.body = body
            if is_open:
                return await handle(request)
            price = price_of(request, self.path, is_page=is_page)
            identity = await identify(request, services, price)
            if not takes_json:
                return await handle(request)
            async with services.gates.bodies.turn(identity.user.id):
                return await handle(request)

        return enter


def _depends_on(dependant: Dependant, call: Callable[..., Any]) -> bool:
    return dependant.call is call or any(_depends_on(needed, call) for needed in dependant.dependencies)
