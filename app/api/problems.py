"""From errors to problem details; the only place that knows which error is which status."""

import http
import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from psycopg import OperationalError as PostgresError
from sqlalchemy.exc import IntegrityError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.api.faults import fault_of
from app.api.problem_types import problem_type
from app.api.schemas.problems import Problem
from app.domain import errors
from app.domain.errors import Fault, PalimpsestError
from app.metrics.http import note_error

MEDIA_TYPE = "application/problem+json"

# Postgres's SQLSTATEs.
_FOREIGN_KEY_VIOLATION = "23503"
_IMPATIENT = {"55P03", "57014", "25P03"}  # a lock, a statement, a transaction that took too long

log = logging.getLogger(__name__)


class MalformedBodyError(PalimpsestError):
    """The request's body is malformed."""

    slug = "malformed-body"


_STATUS: Mapping[type[PalimpsestError], int] = {
    MalformedBodyError: 400,
    errors.NotAuthenticatedError: 401,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.ErasedError: 410,
    errors.TooLargeError: 413,
    errors.InvalidInputError: 422,
    errors.TooManyError: 429,
    errors.NotReadyError: 503,
    errors.StorageError: 503,
}

# The slug and the title of the problems that have no error class of their own.
_OF_STATUS: Mapping[int, type[PalimpsestError]] = {status: error for error, status in _STATUS.items()} | {
    503: errors.NotReadyError
}

_HEADERS: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": 'Bearer realm="palimpsest"'},
    503: {"Retry-After": "5"},
}


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The response that carries a problem."""
    content = problem.model_dump_json(exclude_defaults=not problem.errors)
    own = {**_HEADERS.get(problem.status, {}), **(headers or {})}
    return Response(content, problem.status, headers=own, media_type=MEDIA_TYPE)


def problem_of(status: int, detail: str, instance: str, faults: tuple[Fault, ...] = ()) -> Problem:
    """A problem that has nothing but its status to tell its type."""
    error = _OF_STATUS.get(status)
    slug, title = ("about:blank", http.HTTPStatus(status).phrase) if error is None else (error.slug, error.title())
    kind = slug if error is None else problem_type(slug)
    return Problem(type=kind, title=title, status=status, detail=detail, instance=instance, errors=faults)


def install(app: FastAPI) -> None:
    """Make the application answer every error with a problem."""
    app.add_exception_handler(PalimpsestError, _domain)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _disconnected)
    for error in (OperationalError, InterfaceError, InternalError, PoolTimeoutError, PostgresError):
        app.add_exception_handler(error, _database_down)
    app.add_exception_handler(IntegrityError, _gone_meanwhile)


async def _domain(request: Request, error: Exception) -> Response:
    assert isinstance(error, PalimpsestError)
    note_error(error)
    status = next((status for kind in type(error).__mro__ if (status := _STATUS.get(kind))), 500)
    detail = error.detail
    headers = {}
    if isinstance(error, errors.TooManyError) and error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, errors.StorageError):
        # Its words are the operator's: keys, endpoints.
        log.error("storage failed: %s", error.detail)
        detail = "Object storage failed; nothing was changed. Try again."
    return answer(
        Problem(
            type=problem_type(error.slug),
            title=error.title(),
            status=status,
            detail=detail,
            instance=request.url.path,
            errors=error.faults,
        ),
        headers,
    )


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if any(problem["type"] == "json_invalid" for problem in error.errors()):
        return answer(problem_of(400, "The body is not valid JSON.", request.url.path))
    faults = tuple(fault_of(problem) for problem in error.errors())
    detail = "One field is not valid." if len(faults) == 1 else f"{len(faults)} fields are not valid."
    return answer(problem_of(422, detail, request.url.path, faults))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return answer(problem_of(error.status_code, error.detail, request.url.path), error.headers)


async def _disconnected(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return answer(problem_of(400, "The body ended too early.", request.url.path))


async def _database_down(request: Request, error: Exception) -> Response:
    log.error("Postgres failed: %s", error)
    if getattr(getattr(error, "orig", error), "sqlstate", None) in _IMPATIENT:
        return answer(
            problem_of(503, "Others keep the database busy; nothing was changed. Try again.", request.url.path)
        )
    return answer(problem_of(503, "The database is out of reach. Try again.", request.url.path))


async def _gone_meanwhile(request: Request, error: Exception) -> Response:
    """What the request found was deleted or erased before it could be named; anything else is nobody's plan."""
    assert isinstance(error, IntegrityError)
    if getattr(error.orig, "sqlstate", None) != _FOREIGN_KEY_VIOLATION:
        raise error
    return answer(problem_of(409, "Something that this names was deleted or erased meanwhile.", request.url.path))
