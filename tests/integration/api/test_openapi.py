"""`/openapi.json` shows every route with examples, and `/docs` shows it to people."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.api.schemas.problems import Problem
from app.main import create_app
from app.settings import Settings
from tests.integration.api.state import Server

Json = dict[str, Any]

SPEC: Json = create_app(Settings()).openapi()
OPERATIONS: dict[str, Json] = {
    f"{method} {path}": operation for path, methods in SPEC["paths"].items() for method, operation in methods.items()
}

# The routes that the design promises, as far as this round goes.
PROMISED = [
    "post /v1/concepts",
    "get /v1/concepts",
    "get /v1/concepts/{concept_id}",
    "delete /v1/concepts/{concept_id}",
    "get /v1/concepts/{concept_id}/images/{position}",
    "post /v1/lineages",
    "get /v1/lineages",
    "get /v1/lineages/{lineage_id}",
    "patch /v1/lineages/{lineage_id}",
    "delete /v1/lineages/{lineage_id}",
    "post /v1/lineages/{lineage_id}/branches",
    "post /v1/lineages/{lineage_id}/rollback",
    "get /v1/lineages/{lineage_id}/compare",
    "post /v1/lineages/{lineage_id}/versions",
    "post /v1/lineages/{lineage_id}/import",
    "post /v1/lineages/{lineage_id}/erasures",
    "get /v1/lineages/{lineage_id}/versions",
    "get /v1/lineages/{lineage_id}/versions/{number}",
    "get /v1/lineages/{lineage_id}/versions/{number}/adapter",
    "post /v1/lineages/{lineage_id}/versions/{number}/promote",
    "post /v1/lineages/{lineage_id}/versions/{number}/reproduce",
    "post /v1/generations",
    "get /v1/generations",
    "get /v1/generations/{generation_id}",
    "delete /v1/generations/{generation_id}",
    "get /v1/generations/{generation_id}/images/{position}",
    "post /v1/lineages/{lineage_id}/evaluations",
    "get /v1/evaluations",
    "get /v1/evaluations/{evaluation_id}",
    "get /v1/evaluations/{evaluation_id}.csv",
    "get /v1/evaluations/{evaluation_id}/{file}",
    "delete /v1/evaluations/{evaluation_id}",
    "get /v1/deletions",
    "get /v1/deletions/{deletion_id}",
    "get /v1/jobs",
    "get /v1/jobs/{job_id}",
    "post /v1/jobs/{job_id}/cancel",
    "get /v1/strategies",
    "get /v1/base-models",
    "post /v1/base-models",
    "delete /v1/base-models/{name}",
    "post /v1/users",
    "get /v1/users",
    "put /v1/users/{user_id}/quotas",
    "delete /v1/users/{user_id}",
    "post /v1/keys",
    "get /v1/keys",
    "delete /v1/keys/{key_id}",
    "get /v1/me",
    "get /health/live",
    "get /health/ready",
]


def test_every_promised_route_is_there() -> None:
    assert sorted(OPERATIONS) == sorted(PROMISED)


def bodies(operation: Json) -> Iterator[tuple[str, str, Json]]:
    """Every body that the operation takes or gives: where, as which media type, described how."""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield "request", media_type, content
    for status, response in operation["responses"].items():
        for media_type, content in response.get("content", {}).items():
            yield status, media_type, content


def has_example(content: Json) -> bool:
    if "example" in content or "examples" in content:
        return True
    name = content["schema"]["$ref"].removeprefix("#/components/schemas/")
    return bool(SPEC["components"]["schemas"][name].get("examples"))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_body_has_an_example(operation: str) -> None:
    for where, media_type, content in bodies(OPERATIONS[operation]):
        assert has_example(content), f"{operation} {where} {media_type}"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_is_described(operation: str) -> None:
    described = OPERATIONS[operation]
    assert described["operationId"]
    assert described["tags"]
    assert described["description"]
    takes_a_key = bool(described.get("security"))
    assert takes_a_key == operation.split()[1].startswith("/v1/")
    assert ("401" in described["responses"]) == takes_a_key


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_problem_is_a_problem_document(operation: str) -> None:
    for status, response in OPERATIONS[operation]["responses"].items():
        if int(status) >= 400:
            assert list(response["content"]) == ["application/problem+json"], f"{operation} {status}"
            Problem.model_validate(response["content"]["application/problem+json"]["example"])


def test_operation_ids_are_unique() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)


def test_the_documentation_is_served(server: Server) -> None:
    assert httpx.get(f"{server.url}/openapi.json", timeout=60).json()["info"]["title"] == "Palimpsest"
    page = httpx.get(f"{server.url}/docs", timeout=60).text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(loaded) >= 3
    for address in loaded:
        assert address.startswith(server.url), "the page must work without the internet"
        assert httpx.get(address, timeout=60).status_code == 200, address
