"""Jobs from their row to what they publish, on the real services and a tiny pipeline."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import torch
from sqlalchemy import func, update

from app.db.session import transaction
from app.db.tables import Concept, Generation, Job, Lineage, ObjectStatus, Version
from app.domain.jobs import JobKind, JobStatus, TrainResult
from app.domain.lineages import Provenance, VersionStatus
from app.domain.strategies import IsolatedOptions, StrategyOptions
from tests.integration.worker.world import EVERY_STRATEGY, KINDS, QUICK, TRAINING, World
from worker.adapters.factors import from_bytes
from worker.attempt.chain import load_chain
from worker.jobs import teaching
from worker.strategies.importance import unpacked
from worker.training.loop import train
from worker.training.training_task import Trained

NOTES: dict[str, tuple[set[str], set[str]]] = {
    "orthogonal_merge": (set(), {"energy_covered", "least_energy_covered"}),
    "c_lora": ({"update_norm"}, {"update_norm"}),
    "self_replay": ({"neutral_latents"}, {"earlier_latents", "neutral_latents"}),
    "ewc": ({"update_norm"}, {"update_norm"}),
    "null_space": (
        set(),
        {
            "energy_covered",
            "least_energy_covered",
            "protected_directions",
            "protected_projections",
            "token_residual",
        },
    ),
}
"""What the first version's provenance says about each strategy, and what the later ones' say."""


@pytest.mark.parametrize("strategy", EVERY_STRATEGY, ids=lambda strategy: strategy.name)
def test_three_concepts_become_three_versions(world: World, strategy: StrategyOptions) -> None:
    lineage_id = world.lineage(strategy)
    jobs = [world.train(lineage_id, name) for name in ("dog", "vase", "cup")]
    assert world.runner().run_until_idle(KINDS) == 3

    for number, job_id in enumerate(jobs, start=1):
        job = world.job(job_id)
        assert (job.status, job.result) == (JobStatus.SUCCEEDED, TrainResult(lineage_id=lineage_id, version=number))
        assert job.step == job.total_steps == TRAINING.steps
        version = world.version(lineage_id, number)
        assert version.parent_id == world.version(lineage_id, number - 1).id
        assert isinstance(version.provenance, Provenance)
        assert version.provenance.strategy == strategy
        assert version.provenance.strategy_notes.keys() == NOTES.get(strategy.name, (set(), set()))[number > 1]
        assert version.provenance.neutral_prompts == world.base_model.neutral_prompts
        assert from_bytes(world.adapter(lineage_id, number)).is_finite()
    with transaction(world.engine) as session:
        assert session.get_one(Lineage, lineage_id).head_version_id == world.version(lineage_id, 3).id
    assert world.objects(ObjectStatus.PENDING) == 0


def test_what_ewc_keeps_is_there_for_the_next_task(world: World) -> None:
    lineage_id = world.lineage(QUICK["ewc"])
    for name in ("dog", "vase"):
        world.train(lineage_id, name)
    runner = world.runner()
    runner.run_until_idle(KINDS)
    version = world.version(lineage_id, 2)
    links = load_chain(world.engine, version.id, world.read)
    assert isinstance(version.provenance, Provenance)
    assert version.provenance.strategy_state_sha256 == world.row(version.strategy_state_object_id).sha256
    for link in links:
        kept = unpacked(link.strategy_state)
        assert kept.keys() == link.adapter.modules.keys()
        assert all(bool((part.row >= 0).all()) for part in kept.values())
    assert not torch.equal(*(next(iter(link.strategy_state.values())) for link in links))


def test_the_same_job_gives_the_same_adapter(world: World) -> None:
    lineages = [world.lineage(), world.lineage()]
    for lineage_id in lineages:
        concept = world.train(lineage_id, f"dog{len(world.keys())}")
        _reuse_first_concept(world, concept)
    world.runner().run_until_idle(KINDS)
    first, second = (world.version(lineage_id, 1).provenance for lineage_id in lineages)
    assert first is not None
    assert second is not None
    assert first.adapter_sha256 == second.adapter_sha256


def _reuse_first_concept(world: World, job_id: UUID) -> None:
    """Let the job train the first job's concept as the first job's token."""
    with transaction(world.engine) as session:
        first = session.query(Job).order_by(Job.seq).first()
        assert first is not None
        session.get_one(Job, job_id).params = first.params


@pytest.mark.parametrize("width", [64, 128])
def test_pictures_carry_their_provenance(world: World, width: int) -> None:
    lineage_id = world.lineage()
    world.train(lineage_id, "dog")
    world.runner().run_until_idle(KINDS)
    job_id = world.generate(lineage_id, 1, width=width)
    world.runner().run_until_idle(KINDS)

    assert world.job(job_id).status is JobStatus.SUCCEEDED
    pictures = world.pictures(job_id)
    assert [picture.size for picture in pictures] == [(width, 64)] * 2
    stories = [json.loads(str(picture.info["palimpsest"])) for picture in pictures]
    assert [story["seed"] for story in stories] == ["11", "12"]
    assert {(story["width"], story["height"], story["base_model"]) for story in stories} == {
        (str(width), "64", world.base_model.name)
    }
    provenance = world.version(lineage_id, 1).provenance
    assert provenance is not None
    assert {story["adapter_sha256"] for story in stories} == {provenance.adapter_sha256}


def test_versions_draw_differently_and_the_base_is_left_as_it_was(world: World) -> None:
    lineage_id = world.lineage()
    world.train(lineage_id, "dog")
    runner = world.runner()
    runner.run_until_idle(KINDS)
    jobs = [world.generate(lineage_id, number) for number in (0, 1, 0)]
    runner.run_until_idle(KINDS)
    before, taught, after = (world.pictures(job_id)[0].tobytes() for job_id in jobs)
    assert before == after
    assert before != taught


def test_isolated_versions_draw_with_the_concepts_that_the_prompt_names(world: World) -> None:
    lineage_id = world.lineage(IsolatedOptions())
    for name in ("dog", "vase"):
        world.train(lineage_id, name)
    runner = world.runner()
    runner.run_until_idle(KINDS)
    dog, vase = (world.version(lineage_id, number).taught for number in (1, 2))
    assert dog is not None
    assert vase is not None
    plain, dogs, both = "a photo", dog.instance_prompt(), f"{dog.phrase()} and {vase.phrase()}"
    asked = [(0, plain), (2, plain), (1, dogs), (2, dogs), (1, both), (2, both)]
    jobs = [world.generate(lineage_id, number, prompt) for number, prompt in asked]
    runner.run_until_idle(KINDS)
    of_base, unnamed, first, second, one_of_both, both_of_both = (
        world.pictures(job_id)[0].tobytes() for job_id in jobs
    )
    assert unnamed == of_base
    assert second == first
    assert one_of_both != both_of_both


def test_a_lineages_jobs_run_first_in_first_out_also_during_a_backoff(world: World) -> None:
    lineage_id, other_id = world.lineage(), world.lineage()
    first, second = world.train(lineage_id, "dog"), world.train(lineage_id, "vase")
    _put_off(world, first)
    other = world.train(other_id, "cat")
    assert world.runner().run_until_idle(KINDS) == 1
    assert [world.job(job_id).status for job_id in (first, second, other)] == [
        JobStatus.QUEUED,
        JobStatus.QUEUED,
        JobStatus.SUCCEEDED,
    ]


def _put_off(world: World, job_id: UUID) -> None:
    with transaction(world.engine) as session:
        session.get_one(Job, job_id).not_before = datetime.now(UTC) + timedelta(hours=1)


def test_a_generation_does_not_wait_behind_training(world: World) -> None:
    lineage_id = world.lineage()
    train, generate = world.train(lineage_id, "dog"), world.generate(lineage_id, 0)
    world.runner().run_one(KINDS)
    assert world.job(generate).status is JobStatus.SUCCEEDED
    assert world.job(train).status is JobStatus.QUEUED
    world.runner().run_one([JobKind.GENERATE])
    assert world.job(train).status is JobStatus.QUEUED


def test_a_version_trained_beside_a_moved_head_is_held(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lineage_id = world.lineage()
    job_id = world.train(lineage_id, "dog")
    _while_training(monkeypatch, lambda: _move_head(world, lineage_id))
    world.runner().run_one(KINDS)
    assert world.job(job_id).status is JobStatus.SUCCEEDED
    assert world.version(lineage_id, 2).status is VersionStatus.HELD
    with transaction(world.engine) as session:
        assert session.get_one(Lineage, lineage_id).head_version_id == world.version(lineage_id, 1).id


def _move_head(world: World, lineage_id: UUID) -> None:
    with transaction(world.engine) as session:
        lineage = session.get_one(Lineage, lineage_id)
        version = Version(
            lineage_id=lineage_id,
            number=lineage.take_number(),
            status=VersionStatus.LIVE,
            parent_id=lineage.head_version_id,
        )
        session.add(version)
        session.flush()
        lineage.head_version_id = version.id


@pytest.mark.parametrize("table", [Concept, Lineage])
def test_nothing_is_published_on_a_tombstone(
    world: World, table: type[Concept | Lineage], monkeypatch: pytest.MonkeyPatch
) -> None:
    lineage_id = world.lineage()
    job_id = world.train(lineage_id, "dog")
    _while_training(monkeypatch, lambda: _delete_all(world, table))
    world.runner().run_one(KINDS)
    assert world.job(job_id).status is JobStatus.CANCELED
    with transaction(world.engine) as session:
        assert session.query(Version).filter(Version.number > 0).count() == 0


def _delete_all(world: World, table: type[Concept | Lineage | Generation]) -> None:
    with transaction(world.engine) as session:
        session.execute(update(table).values(deleted_at=func.clock_timestamp()))


def _while_training(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let `act` happen after the job was claimed and before it publishes."""

    def train_then_act(*arguments: Any) -> Trained:
        trained = train(*arguments)
        act()
        return trained

    monkeypatch.setattr(teaching, "train", train_then_act)


def test_a_deleted_generation_publishes_nothing(world: World) -> None:
    lineage_id = world.lineage()
    job_id = world.generate(lineage_id, 0)
    _delete_all(world, Generation)
    world.runner().run_until_idle(KINDS)
    assert world.job(job_id).status is JobStatus.CANCELED
