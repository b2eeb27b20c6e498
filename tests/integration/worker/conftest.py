"""The world of each test of the job path: fresh services, one user, the tiny base."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from tests.integration.worker.world import World


@pytest.fixture
def world(settings: Settings, bases: Path) -> Iterator[World]:
    world = World.create(settings, bases)
    yield world
    world.engine.dispose()
