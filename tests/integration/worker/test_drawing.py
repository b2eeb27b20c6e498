"""Drawing on real services: what is there stays there, what is not finite is not published, what falls off is said."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, update

from app.db.session import transaction
from app.db.tables import Generation, Job, ObjectStatus, Version
from app.domain.jobs import GenerateResult, JobStatus
from app.storage import describe_object
from tests.integration.worker.world import KINDS, World
from worker.adapters.factors import Adapter, from_bytes, to_bytes
from worker.models.pipeline import PipelineBase
from worker.models.unet import UNetBase


def cancel(world: World, job_id: object) -> None:
    with transaction(world.engine) as session:
        session.execute(update(Job).where(Job.id == job_id).values(cancel_requested_at=func.clock_timestamp()))


def after_first_picture(patch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Call `act` while the second picture is drawn."""
    drawn = []

    def sample(base: PipelineBase, *args: Any) -> Any:
        drawn.append(base)
        if len(drawn) == 2:
            act()
        return plain(base, *args)

    plain = PipelineBase.sample
    patch.setattr(PipelineBase, "sample", sample)


def test_a_canceled_generation_keeps_what_was_finished(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lineage_id = world.lineage()
    whole, canceled = world.generate(lineage_id, 0), world.generate(lineage_id, 0)
    runner = world.runner()
    assert runner.run_one(KINDS)
    after_first_picture(monkeypatch, lambda: cancel(world, canceled))
    assert runner.run_one(KINDS)
    assert world.job(canceled).status is JobStatus.CANCELED
    kept, all_ = world.pictures(canceled), world.pictures(whole)
    assert [picture.tobytes() for picture in kept] == [picture.tobytes() for picture in all_][: len(kept)]
    assert 1 <= len(kept) <= 2
    assert world.objects(ObjectStatus.PENDING) == 0


def test_a_drawing_that_is_tried_again_goes_on_behind_what_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.generate(world.lineage(), 0)

    def fail() -> None:
        raise OSError("the disk is away")

    after_first_picture(monkeypatch, fail)
    runner = world.runner(retry_backoff_seconds=0.0)
    assert runner.run_one(KINDS)
    first = world.pictures(job_id)
    assert len(first) == 1
    assert world.job(job_id).status is JobStatus.QUEUED
    assert runner.run_one(KINDS)
    assert world.job(job_id).status is JobStatus.SUCCEEDED
    pictures = world.pictures(job_id)
    assert pictures[0].tobytes() == first[0].tobytes()
    assert [json.loads(str(picture.info["palimpsest"]))["seed"] for picture in pictures] == ["11", "12"]


def test_pictures_share_a_batch_unless_they_are_to_be_exact(world: World) -> None:
    lineage_id = world.lineage()
    together, alone = (world.generate(lineage_id, 0, exact=exact) for exact in (False, True))
    world.runner().run_until_idle(KINDS)
    for job_id, at_once in ((together, "2"), (alone, "1")):
        told = [json.loads(str(picture.info["palimpsest"])) for picture in world.pictures(job_id)]
        assert [one["pictures_at_once"] for one in told] == [at_once] * 2
    for one, other in zip(world.pictures(together), world.pictures(alone), strict=True):
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1


def strengthen(world: World, version: Version, scale: float) -> None:
    """Give a version an adapter of that scale."""
    assert version.adapter_object_id is not None
    learned = from_bytes(world.read(version.adapter_object_id))
    data = to_bytes(Adapter(scale, learned.modules), {})
    row = describe_object(world.user_id, "adapters", data, "application/octet-stream")
    row.status = ObjectStatus.LIVE
    world.store.put(row, data)
    with transaction(world.engine) as session:
        session.add(row)
        session.flush()
        session.get_one(Version, version.id).adapter_object_id = row.id


def test_pictures_that_are_not_finite_are_not_published(world: World) -> None:
    lineage_id = world.lineage()
    world.train(lineage_id, "dog")
    world.runner().run_until_idle(KINDS)
    strengthen(world, world.version(lineage_id, 1), 1e35)
    job_id = world.generate(lineage_id, 1)
    world.runner().run_until_idle(KINDS)
    job = world.job(job_id)
    assert job.error is not None
    assert (job.status, job.error.type) == (JobStatus.FAILED, "not-finite")
    assert "alpha" in job.error.detail
    assert world.pictures(job_id) == []


@pytest.mark.parametrize(
    ("prompt", "status"),
    [
        ("a zqa toy " + "and a red cup " * 9, JobStatus.SUCCEEDED),
        ("a red cup and " * 9 + "a zqa toy", JobStatus.FAILED),
    ],
)
def test_a_family_that_cuts_prompts_says_so_and_never_cuts_a_concept(
    world: World, monkeypatch: pytest.MonkeyPatch, prompt: str, status: JobStatus
) -> None:
    """The families that are there cut nothing; this is one that does."""
    monkeypatch.delattr(UNetBase, "unheard")
    lineage_id = world.lineage()
    world.train(lineage_id, "dog")
    world.runner().run_until_idle(KINDS)
    job_id = world.generate(lineage_id, 1, prompt)
    world.runner().run_until_idle(KINDS)
    job = world.job(job_id)
    assert job.status is status
    assert isinstance(job.result, GenerateResult)
    with transaction(world.engine) as session:
        warnings = session.get_one(Generation, job.result.generation_id).warnings
    if status is JobStatus.SUCCEEDED:
        assert [warning.field for warning in warnings] == ["prompt"]
        assert "red cup" in warnings[0].message
    else:
        assert job.error is not None
        assert (job.error.type, job.error.errors[0].message[:9]) == ("invalid-input", "too long:")
        assert "<dog>" in job.error.errors[0].message
