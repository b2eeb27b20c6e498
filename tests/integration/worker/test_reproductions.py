"""A version that is trained again has the same adapter; where it has not, the job says how far off and what changed."""

from uuid import UUID

import pytest
import torch

from app.db.session import transaction
from app.db.tables import Concept, Job, ObjectStatus, Version
from app.domain.jobs import JobStatus, ReproduceResult
from app.domain.lineages import Machine, Provenance
from app.domain.strategies import MagnitudeOptions, NaiveOptions, SelfReplayOptions, StrategyOptions
from tests.integration.sweeper.test_collection import delete_all, sweep
from tests.integration.worker.test_outcomes import steps_of
from tests.integration.worker.world import KINDS, World
from worker.models.device import with_threads

SELF_REPLAY = SelfReplayOptions(latents_per_concept=1, neutral_latents=2, sampling_steps=2)


def _reproduced(world: World, job_id: UUID) -> ReproduceResult:
    job = world.job(job_id)
    assert job.status is JobStatus.SUCCEEDED, job.error
    assert isinstance(job.result, ReproduceResult)
    return job.result


def _record(world: World, lineage_id: UUID, **changes: object) -> None:
    """Rewrite what is remembered of version 1."""
    with transaction(world.engine) as session:
        version = session.get_one(Version, world.version(lineage_id, 1).id)
        assert isinstance(version.provenance, Provenance)
        version.provenance = version.provenance.model_copy(update=changes)


@pytest.mark.parametrize("strategy", [NaiveOptions(), SELF_REPLAY, MagnitudeOptions()], ids=lambda s: s.name)
def test_each_version_comes_out_the_same(world: World, strategy: StrategyOptions) -> None:
    lineage_id = world.lineage(strategy)
    for name in ("dog", "vase"):
        world.train(lineage_id, name)
    world.runner().run_until_idle(KINDS)
    objects = world.objects(ObjectStatus.LIVE)
    jobs = [world.reproduce(lineage_id, number) for number in (1, 2)]
    # Another count of threads is this worker's own business: the recorded one is used.
    with with_threads(2):
        world.runner(torch_threads=2).run_until_idle(KINDS)
        assert torch.get_num_threads() == 2
    for number, job_id in enumerate(jobs, start=1):
        result = _reproduced(world, job_id)
        assert (result.version, result.reproduced, result.max_abs_difference) == (number, True, 0.0)
        assert (result.differences, result.got_sha256) == ((), result.expected_sha256)
    assert world.objects(ObjectStatus.LIVE) == objects


def test_what_is_not_the_same_is_measured_and_what_changed_is_named(world: World) -> None:
    lineage_id = world.lineage()
    world.train(lineage_id, "dog")
    world.runner().run_until_idle(KINDS)
    provenance = world.version(lineage_id, 1).provenance
    assert isinstance(provenance, Provenance)
    older = {**provenance.machine.libraries, "torch": "0.1"}
    machine = provenance.machine.model_copy(update={"libraries": older, "processor": "an abacus"})
    training = provenance.training.model_copy(update={"seed": 99})
    _record(world, lineage_id, machine=Machine.model_validate(machine.model_dump()), training=training)
    job_id = world.reproduce(lineage_id, 1)
    world.runner().run_until_idle(KINDS)
    result = _reproduced(world, job_id)
    assert result.got_sha256 != result.expected_sha256
    assert not result.reproduced
    assert result.max_abs_difference is not None
    assert result.max_abs_difference > 0
    assert [(d.field, d.from_value) for d in result.differences] == [
        ("machine.libraries.torch", "0.1"),
        ("machine.processor", "an abacus"),
    ]


def test_an_interrupted_reproduction_resumes_and_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lineage_id = world.lineage()
    world.train(lineage_id, "dog")
    world.runner().run_until_idle(KINDS)
    job_id = world.reproduce(lineage_id, 1)
    steps_of(monkeypatch, 3)
    world.runner(checkpoint_interval_seconds=0, retry_backoff_seconds=0).run_until_idle(KINDS)
    assert world.job(job_id).attempt == 2
    assert _reproduced(world, job_id).reproduced
    sweep(world)
    # Two images and one adapter.
    assert (world.objects(ObjectStatus.LIVE), world.objects(ObjectStatus.DEAD), len(world.keys())) == (3, 0, 3)


def test_a_reproduction_of_a_deleted_concept_is_canceled(world: World) -> None:
    lineage_id = world.lineage()
    world.train(lineage_id, "dog")
    world.runner().run_until_idle(KINDS)
    job_id = world.reproduce(lineage_id, 1)
    delete_all(world, Concept)
    world.runner().run_until_idle(KINDS)
    assert world.job(job_id).status is JobStatus.CANCELED
    with transaction(world.engine) as session:
        assert session.query(Job).count() == 2
