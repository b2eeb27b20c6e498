"""The world of each test of the job path: fresh services, one user, the tiny base."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from tests.integration.worker.world import World


@pytest.fixture
def world(settings: Settings, tmp_path: Path) -> Iterator[World]:
    world = World.create(settings, tmp_path / "base")
    yield world
    world.engine.dispose()
