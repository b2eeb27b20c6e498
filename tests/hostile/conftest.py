"""One API process for the tests of a module."""

from collections.abc import Iterator

import httpx
import pytest

from app.settings import Settings
from tests.hostile.place import Place, place


@pytest.fixture(scope="module")
def api(module_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A running API."""
    with place(module_settings, tmp_path_factory.mktemp("bases")) as running:
        yield running


@pytest.fixture
def client(api: Place) -> Iterator[httpx.Client]:
    """A client of a new user."""
    with api.client(api.new_key()) as client:
        yield client
