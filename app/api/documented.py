"""What `/openapi.json` tells beyond the types: the problems of each route, and files."""

from typing import Any

from fastapi import FastAPI

from app.api.problems import MEDIA_TYPE, problem_of
from app.api.schemas.problems import Problem

# FastAPI's own type for the documentation of responses.
Responses = dict[int | str, dict[str, Any]]

_WHEN = {
    400: "The body is malformed or was cut off.",
    401: "No valid API key.",
    403: "Not with this API key.",
    404: "There is no such resource, or it is not yours.",
    409: "It conflicts with the present state.",
    410: "The version was erased with a concept that it held.",
    413: "The body is too large.",
    422: "The request is not valid; `errors` names the fields.",
    429: "A quota or the rate limit is reached; `Retry-After` says when to try again, where waiting helps.",
    503: "A service that this needs is out of reach; try again.",
}


_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def problems(*statuses: int) -> Responses:
    """The documentation of these problems, each with an example."""
    return {status: _documented(status) for status in statuses}


def _documented(status: int) -> dict[str, Any]:
    example = problem_of(status, _WHEN[status], "/v1/…").model_dump(mode="json")
    return {"model": Problem, "description": _WHEN[status], "content": {MEDIA_TYPE: {"example": example}}}


def binary(media_type: str, description: str) -> Responses:
    """The documentation of an answer that is a file."""
    schema = {"type": "string", "format": "binary"}
    return {200: {"description": description, "content": {media_type: {"schema": schema, "example": "(bytes)"}}}}


READ = problems(401, 422, 503)
READ_ONE = problems(401, 404, 422, 503)
ERASED = problems(410)
WRITE = problems(400, 401, 404, 409, 413, 422, 503)
ACT = problems(401, 404, 409, 422, 503)
REMOVE = problems(401, 404, 422, 503)
ADMIN = problems(403)


class DocumentedAPI(FastAPI):
    """FastAPI, which documents every model as `application/json`; problems have a media type of their own."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
            for methods in document["paths"].values():
                for method, operation in methods.items():
                    _add_refusals_of_keys(method, operation)
                    _correct_media_types(operation["responses"])
        assert self.openapi_schema is not None
        return self.openapi_schema


def _add_refusals_of_keys(method: str, operation: dict[str, Any]) -> None:
    """What any key may meet anywhere: a scope that is too small to change things, and too fast a pace."""
    if "security" not in operation:
        return
    for status in (429,) if method == "get" else (403, 429):
        content = {MEDIA_TYPE: {"schema": _PROBLEM, **_documented(status)["content"][MEDIA_TYPE]}}
        operation["responses"].setdefault(str(status), {"description": _WHEN[status], "content": content})


def _correct_media_types(responses: dict[str, Any]) -> None:
    for response in responses.values():
        content = response.get("content", {})
        if MEDIA_TYPE in content and "application/json" in content:
            content[MEDIA_TYPE] |= content.pop("application/json")
