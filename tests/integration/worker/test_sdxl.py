"""Train and generate jobs on a base of the `sdxl` family, from their rows to what they publish."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.jobs import JobStatus
from app.domain.strategies import StrategyOptions
from app.settings import Settings
from tests.integration.worker.world import EVERY_STRATEGY, KINDS, World
from tests.tiny_pipelines import RARE_TOKENS
from tests.tiny_sdxl import write_tiny_sdxl
from worker.adapters.factors import from_bytes


@pytest.fixture
def world(settings: Settings, bases: Path) -> Iterator[World]:
    world = World.create(settings, bases, write_tiny_sdxl)
    yield world
    world.engine.dispose()


NAMES_ALL = f"a photo of {' and '.join(RARE_TOKENS[:3])}"


@pytest.mark.parametrize("strategy", EVERY_STRATEGY, ids=lambda strategy: strategy.name)
def test_three_concepts_are_taught_and_each_version_draws_its_own(world: World, strategy: StrategyOptions) -> None:
    lineage_id = world.lineage(strategy)
    trained = [world.train(lineage_id, name) for name in ("dog", "vase", "cup")]
    runner = world.runner()
    assert runner.run_until_idle(KINDS) == 3
    drawn = [world.generate(lineage_id, number, NAMES_ALL) for number in (0, 1, 2, 3)]
    assert runner.run_until_idle(KINDS) == 4

    assert {world.job(job_id).status for job_id in trained + drawn} == {JobStatus.SUCCEEDED}
    assert all(from_bytes(world.adapter(lineage_id, number)).is_finite() for number in (1, 2, 3))
    assert len({world.pictures(job_id)[0].tobytes() for job_id in drawn}) == 4
