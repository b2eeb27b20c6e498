"""Every text, list and map that a request may carry has a bound, said in its schema."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from app.api.schemas.concepts import NewConceptFields
from app.api.schemas.imports import ImportFields
from app.main import create_app
from app.settings import Settings

Schema = dict[str, Any]

# Formats whose texts have a length of their own, and files, which the route's own limits bound.
BOUNDED_FORMATS = {"uuid", "date-time", "binary"}
ALTERNATIVES = ("anyOf", "oneOf", "allOf")


def unbounded(schema: Schema, document: Schema, where: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Where the schema lets something be of any size."""
    if (reference := schema.get("$ref")) is not None:
        if reference not in seen:
            node = document
            for part in reference.removeprefix("#/").split("/"):
                node = node[part]
            yield from unbounded(node, document, where, seen | {reference})
        return
    for alternative in (entry for key in ALTERNATIVES for entry in schema.get(key, ())):
        yield from unbounded(alternative, document, where, seen)
    if not schema.keys() & {"enum", "const", *ALTERNATIVES}:
        yield from _unbounded_plain(schema, document, where, seen)


def _unbounded_plain(schema: Schema, document: Schema, where: str, seen: frozenset[str]) -> Iterator[str]:
    match schema.get("type"):
        case "string":
            if schema.get("format") not in BOUNDED_FORMATS and "maxLength" not in schema:
                yield f"{where}: a text"
        case "array":
            if "maxItems" not in schema:
                yield f"{where}: a list"
            for entry in (schema.get("items", {}), *schema.get("prefixItems", ())):
                yield from unbounded(entry, document, f"{where}[]", seen) if entry else ()
        case "object":
            yield from _unbounded_object(schema, document, where, seen)
        case None:
            yield f"{where}: anything"
        case _:
            pass


def _unbounded_object(schema: Schema, document: Schema, where: str, seen: frozenset[str]) -> Iterator[str]:
    for name, entry in schema.get("properties", {}).items():
        yield from unbounded(entry, document, f"{where}.{name}", seen)
    if schema.get("additionalProperties") is False or (where.endswith("(form)") and "properties" in schema):
        return
    if "maxProperties" not in schema:
        yield f"{where}: a map"


def requests(document: Schema) -> Iterator[tuple[str, Schema]]:
    """Every parameter and every body of every route."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", ()):
                yield f"{method} {path} {parameter['name']}", parameter["schema"]
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                form = " (form)" if kind.startswith("multipart/") else ""
                yield f"{method} {path}{form}", content["schema"]


def test_every_request_is_bounded() -> None:
    document = create_app(Settings(database_url="postgresql+psycopg://x/x", broker_url="redis://x")).openapi()
    found = [fault for where, schema in requests(document) for fault in unbounded(schema, document, where)]
    assert found == []


@pytest.mark.parametrize("fields", [NewConceptFields, ImportFields])
def test_every_form_is_bounded(fields: type[BaseModel]) -> None:
    document = fields.model_json_schema()
    assert list(unbounded(document, document, fields.__name__)) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "string", "pattern": "^a+$"},
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "maxItems": 3, "items": {"type": "string"}},
        {"type": "object", "properties": {}},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"anyOf": [{"type": "null"}, {"type": "string"}]},
        {},
    ],
)
def test_what_has_no_bound_is_found(schema: Schema) -> None:
    assert list(unbounded(schema, {}, "x"))
