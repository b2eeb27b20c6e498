"""Fixtures for all tests. Nothing is started for a test that does not ask for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from app.settings import Settings
from app.stack.addresses import Addresses
from tests.no_pickles import no_pickle_is_loaded  # noqa: F401 - for every test
from tests.services import fresh_settings, running_services

# The same examples in every run: what only a rare draw finds must not fail a change that has nothing to do with it. New
# examples are looked for by `make fuzz`, `make histories`, and `pytest --hypothesis-profile=default`.
hypothesis_settings.register_profile("repeatable", derandomize=True)
hypothesis_settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """The real Postgres, Redis and S3 of this session."""
    with running_services(tmp_path_factory.mktemp("stack")) as addresses:
        yield addresses


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny bases are, which no test changes."""
    return tmp_path_factory.mktemp("bases")


@pytest.fixture
def settings(services: Addresses, tmp_path: Path) -> Iterator[Settings]:
    """Settings with a migrated database, an empty bucket and an empty broker that no other test sees."""
    with fresh_settings(services, tmp_path / "home") as fresh:
        yield fresh


@pytest.fixture(scope="module")
def module_settings(services: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The same, shared by the tests of one module."""
    with fresh_settings(services, tmp_path_factory.mktemp("home")) as fresh:
        yield fresh
