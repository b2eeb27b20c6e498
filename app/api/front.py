"""What every answer carries and every request leaves: security headers, an id, a line in the log."""

import logging
import re
import time
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import answer, problem_of
from app.logs import log_ids
from app.metrics.http import note_request

log = logging.getLogger(__name__)

REQUEST_ID = "X-Request-ID"
_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

# Ids and numbers; what else stands in their place in a path is not for the log.
_PLAIN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]{1,10}")

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# What an answer of the API may do in a browser, should one show it: nothing.
_API_POLICY = "default-src 'none'; frame-ancestors 'none'"
# The pages for people: their own files, and pictures that scripts have fetched with the key.
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)


# Asked all the time, by anybody: what is well is not logged.
_HEALTH = "/health/"


class FrontMiddleware:
    """The outermost layer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _ACCEPTABLE_ID.fullmatch(given) else str(uuid4())
        status, started = 0, time.monotonic()

        async def send_dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _dress(MutableHeaders(scope=message), request_id, is_api=scope["path"].startswith("/v1/"))
            await send(message)

        with log_ids(request_id=request_id):
            try:
                await self._app(scope, receive, send_dressed)
            except Exception:
                log.exception("unexpected error")
                if status:
                    raise
                problem = problem_of(500, "Something unexpected went wrong here.", scope["path"])
                await answer(problem)(scope, receive, send_dressed)
            finally:
                seconds = time.monotonic() - started
                note_request(scope["method"], _route(scope), status or 499, seconds)
                if not (status == 200 and scope["path"].startswith(_HEALTH)):
                    _log(scope, status, seconds)


def _dress(headers: MutableHeaders, request_id: str, *, is_api: bool) -> None:
    headers[REQUEST_ID] = request_id
    for name, value in _HEADERS.items():
        headers[name] = value
    is_page = headers.get("content-type", "").startswith("text/html")
    headers["Content-Security-Policy"] = _PAGE_POLICY if is_page else _API_POLICY
    if is_api:
        # What is private stays out of every cache, unless the route knows better.
        headers.setdefault("Cache-Control", "no-store")


def _route(scope: Scope) -> str | None:
    """The template of the route that matched."""
    path: str | None = getattr(scope.get("route"), "path", None)
    return path


def _log(scope: Scope, status: int, seconds: float) -> None:
    """The route's template and its ids, not the path: nobody knows what an unknown path carries."""
    event: dict[str, object] = {
        "method": scope["method"],
        "route": _route(scope),
        "status": status,
        "seconds": round(seconds, 4),
        "user_id": scope.get("state", {}).get("user_id"),
        **{name: value for name, value in scope.get("path_params", {}).items() if _PLAIN_ID.fullmatch(value)},
    }
    log.info("request", extra={"event": event})
