"""The examples of `/openapi.json` are what they are examples of."""

import importlib
import pkgutil

import pytest

import app.api.schemas
from app.api.schemas.base import example_of
from app.domain.base import Value


def bodies() -> list[type[Value]]:
    """Every body with an example."""
    modules = [
        importlib.import_module(f"app.api.schemas.{found.name}")
        for found in pkgutil.iter_modules(app.api.schemas.__path__)
    ]
    things = {thing for module in modules for thing in vars(module).values() if isinstance(thing, type)}
    found = [thing for thing in things if issubclass(thing, Value) and thing.model_config.get("json_schema_extra")]
    return sorted(found, key=lambda body: body.__name__)


@pytest.mark.parametrize("body", bodies())
def test_an_example_is_valid(body: type[Value]) -> None:
    body.model_validate(example_of(body))


def test_there_are_many() -> None:
    assert len(bodies()) > 20
