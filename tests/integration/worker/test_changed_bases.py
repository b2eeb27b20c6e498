"""A worker that finds other weights than a version was taught on: it draws and trains nothing, unless it may."""

from functools import partial
from pathlib import Path

import pytest

from app.db.session import transaction
from app.db.tables import BaseModelRow, Generation, Lineage
from app.domain.evaluations import EvaluationPolicy
from app.domain.jobs import JobKind, JobStatus
from app.domain.lineages import Provenance
from tests.integration.worker.world import World
from tests.tiny_pipelines import write_tiny_sd

EVERY = (JobKind.TRAIN, JobKind.GENERATE, JobKind.EVALUATE, JobKind.REPRODUCE)


def replace_weights(world: World, folder: Path) -> None:
    """Another base under the same name."""
    write_tiny_sd(folder, prediction_type="epsilon")
    with transaction(world.engine) as session:
        session.get_one(BaseModelRow, world.base_model.name).source = str(folder)


@pytest.mark.parametrize("allowed", [False, True])
def test_what_was_taught_on_other_weights_is_not_used_unless_it_may_be(
    world: World, tmp_path: Path, allowed: bool
) -> None:
    lineage_id = world.lineage(evaluation=EvaluationPolicy())
    world.train(lineage_id, "dog")
    assert world.runner().run_until_idle(EVERY) == 1
    replace_weights(world, tmp_path)
    with transaction(world.engine) as session:
        session.get_one(Lineage, lineage_id).allow_changed_base = allowed
    jobs = [
        world.generate(lineage_id, 1),
        world.evaluate(lineage_id, 1),
        world.train(lineage_id, "cup"),
    ]
    assert world.runner().run_until_idle(EVERY) == 3
    for job in map(world.job, jobs):
        if allowed:
            assert job.status is JobStatus.SUCCEEDED, job.error
        else:
            assert job.status is JobStatus.FAILED
            assert job.error is not None
            assert job.error.type == "base-changed"
            assert "allow_changed_base" in job.error.detail
            # Another try would find the same weights.
            assert job.failures == 1
    if allowed:
        versions = [world.version(lineage_id, number).provenance for number in (1, 2)]
        assert all(isinstance(provenance, Provenance) for provenance in versions)
        assert len({provenance.base_fingerprint for provenance in versions if provenance}) == 2


def test_version_0_was_taught_on_nothing_and_training_again_says_what_has_changed(world: World, tmp_path: Path) -> None:
    lineage_id = world.lineage()
    world.train(lineage_id, "dog")
    assert world.runner().run_until_idle(EVERY) == 1
    replace_weights(world, tmp_path)
    jobs = [world.generate(lineage_id, 0), world.reproduce(lineage_id, 1)]
    assert world.runner().run_until_idle(EVERY) == 2
    assert [world.job(job).status for job in jobs] == [JobStatus.SUCCEEDED] * 2


def test_the_worker_tells_which_weights_it_has_found(world: World, tmp_path: Path) -> None:
    def known() -> str | None:
        with transaction(world.engine) as session:
            return session.get_one(BaseModelRow, world.base_model.name).found_fingerprint

    lineage_id = world.lineage()
    assert known() is None
    for change in (lambda: None, partial(replace_weights, world, tmp_path)):
        change()
        before = known()
        world.generate(lineage_id, 0)
        assert world.runner().run_until_idle(EVERY) == 1
        assert known() not in (None, before)
    with transaction(world.engine) as session:
        assert session.query(Generation).count() == 2
