"""A concept is erased from every branch: folded out, or as if it had never been taught; nothing of it is left."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import torch
from sqlalchemy import func, select, update

from app.db.session import transaction
from app.db.tables import (
    Concept,
    ConceptImage,
    ErasedVersion,
    ErasureDraft,
    Generation,
    Job,
    Lineage,
    ObjectStatus,
    StoredObject,
    Version,
)
from app.domain.erasure import EraseMode
from app.domain.errors import StorageError
from app.domain.jobs import EraseResult, JobKind, JobStatus, TrainParams, TrainResult
from app.domain.lineages import Provenance
from app.domain.strategies import MagnitudeOptions, MergeOptions, NaiveOptions, StrategyOptions
from app.storage import describe_object
from tests.integration.sweeper.test_collection import sweep
from tests.integration.worker.world import KINDS, QUICK, TRAINING, World
from worker.adapters.factors import from_bytes
from worker.attempt.chain import load_chain
from worker.jobs import teaching
from worker.jobs.training_hooks import TrainHooks
from worker.strategies.replay import replay
from worker.training.loop import train
from worker.training.training_task import Trained


@dataclass(frozen=True)
class Tree:
    """A lineage of dog (1), vase (2), cup (3), and a branch from 2 that has learned hat (3)."""

    trunk: UUID
    branch: UUID
    vase: UUID

    @classmethod
    def grow(cls, world: World, strategy: StrategyOptions) -> "Tree":
        trunk, runner = world.lineage(strategy), world.runner()
        jobs = [world.train(trunk, name) for name in ("dog", "vase", "cup")]
        runner.run_until_idle(KINDS)
        branch = world.branch(trunk, 2, strategy)
        world.train(branch, "hat")
        runner.run_until_idle(KINDS)
        params = world.job(jobs[1]).params
        assert isinstance(params, TrainParams)
        return cls(trunk, branch, params.concept_id)


def _head(world: World, lineage_id: UUID) -> Version:
    with transaction(world.engine) as session:
        return session.get_one(Version, session.get_one(Lineage, lineage_id).head_version_id)


def _update(world: World, version: Version) -> dict[str, torch.Tensor]:
    def read(object_id: UUID) -> bytes:
        with transaction(world.engine) as session:
            return world.store.get(session.get_one(StoredObject, object_id))

    return dict(replay(load_chain(world.engine, version.id, read)).update)


def _numbers(world: World, lineage_id: UUID) -> set[int]:
    with transaction(world.engine) as session:
        return set(session.scalars(select(ErasedVersion.number).where(ErasedVersion.lineage_id == lineage_id)))


def _nothing_is_left(world: World, tree: Tree) -> None:
    """No row and no key of what held the vase; the dog, the cup and the hat are there."""
    sweep(world)
    with transaction(world.engine) as session:
        assert session.get(Concept, tree.vase) is None
        assert session.query(ConceptImage).count() == 6
        assert session.query(Version).filter(Version.concept_id == tree.vase).count() == 0
        assert session.query(Version).filter(Version.number > 0).count() == 3
        assert session.query(Generation).count() == 0
        assert session.query(ErasureDraft).count() == 0
        named = {row.key for row in session.scalars(select(StoredObject))}
        states = session.query(Version).filter(Version.strategy_state_object_id.is_not(None)).count()
    # Six images, three adapters, and what `ewc` keeps beside each.
    assert states in (0, 3)
    assert (world.objects(ObjectStatus.LIVE), world.objects(ObjectStatus.DEAD)) == (9 + states, 0)
    assert world.keys() == named


@pytest.mark.parametrize(
    ("strategy", "is_deleted_first"), [(MergeOptions(), False), (MagnitudeOptions(), True)], ids=["merge", "magnitude"]
)
def test_refolding_keeps_later_factors_and_leaves_nothing_of_the_concept(
    world: World, strategy: StrategyOptions, is_deleted_first: bool
) -> None:
    tree = Tree.grow(world, strategy)
    dog, cup = (from_bytes(world.adapter(tree.trunk, number)) for number in (1, 3))
    hat = from_bytes(world.adapter(tree.branch, 3))
    for lineage_id, number in ((tree.trunk, 2), (tree.trunk, 3), (tree.branch, 3)):
        world.generate(lineage_id, number)
    runner = world.runner()
    runner.run_until_idle(KINDS)
    if is_deleted_first:
        with transaction(world.engine) as session:
            session.execute(update(Concept).where(Concept.id == tree.vase).values(deleted_at=func.clock_timestamp()))
        sweep(world)
    job_id = world.erase(tree.trunk, tree.vase, EraseMode.REFOLD)
    runner.run_until_idle(KINDS)

    result = world.job(job_id).result
    assert isinstance(result, EraseResult), world.job(job_id).error
    assert (result.residual, result.concept_deleted) == (True, True)
    replaced = {(r.lineage_id, r.version): r.replaced_by for r in result.versions}
    heads = {lineage_id: _head(world, lineage_id) for lineage_id in (tree.trunk, tree.branch)}
    assert replaced == {
        (tree.trunk, 2): None,
        (tree.trunk, 3): heads[tree.trunk].number,
        (tree.branch, 3): heads[tree.branch].number,
    }
    assert {head.number for head in heads.values()} == {4, 5}
    assert (_numbers(world, tree.trunk), _numbers(world, tree.branch)) == ({2, 3}, {2, 3})
    for lineage_id, last in ((tree.trunk, cup), (tree.branch, hat)):
        head = heads[lineage_id]
        assert head.parent_id == world.version(tree.trunk, 1).id
        assert isinstance(head.provenance, Provenance)
        assert head.provenance.residual
        # The oracle: the rule of docs/strategies.md over the two adapters that are left.
        for name, found in _update(world, head).items():
            old, new = dog.delta(name), last.delta(name)
            expected = old + new if strategy.name == "merge" else torch.where(new.abs() >= old.abs(), new, old)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    with transaction(world.engine) as session:
        assert session.get_one(Lineage, tree.branch).forked_from_version_id == world.version(tree.trunk, 1).id
    _nothing_is_left(world, tree)
    # Nor in what a worker keeps on its disk: all that was drawn held the vase.
    assert len(list((world.settings.home / "updates").iterdir())) == 3
    world.runner().forget_erased()
    assert list((world.settings.home / "updates").iterdir()) == []


def _kill_in_second_training(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps that are done from now on; once, in the second training's third step, S3 is away."""
    steps: list[int] = []
    real = TrainHooks.step

    def step(self: TrainHooks, step: int, total_steps: int, loss: float | None) -> None:
        if loss is not None:
            steps.append(step)
        real(self, step, total_steps, loss)
        if loss is not None and len(steps) == TRAINING.steps + 3:
            raise StorageError("S3 is gone")

    monkeypatch.setattr(TrainHooks, "step", step)
    return steps


@pytest.mark.parametrize("strategy", [MergeOptions(), NaiveOptions(), QUICK["ewc"]], ids=lambda strategy: strategy.name)
def test_retraining_makes_what_would_have_been_without_the_concept(
    world: World, strategy: StrategyOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Tree.grow(world, strategy)
    never = world.lineage(strategy)
    with transaction(world.engine) as session:
        trained = select(Job).where(Job.lineage_id == tree.trunk, Job.kind == JobKind.TRAIN).order_by(Job.seq)
        params = [job.params for job in session.scalars(trained)]
    for taught in (params[0], params[2]):
        world.submit(never, taught)
    world.runner().run_until_idle(KINDS)
    expected = world.adapter(never, 2)
    with transaction(world.engine) as session:
        session.execute(update(Lineage).where(Lineage.id == never).values(deleted_at=func.clock_timestamp()))

    job_id = world.erase(tree.branch, tree.vase, EraseMode.RETRAIN)
    steps = _kill_in_second_training(monkeypatch)
    world.runner(checkpoint_interval_seconds=0, retry_backoff_seconds=0).run_until_idle(KINDS)
    job = world.job(job_id)
    assert isinstance(job.result, EraseResult), job.error
    assert (job.result.residual, job.attempt, job.step, job.total_steps) == (False, 2, 12, 12)
    # From its draft and its checkpoint: the step that was interrupted came before its own.
    assert steps == [*range(1, 7), 1, 2, 3, *range(3, 7)]
    head = _head(world, tree.trunk)
    assert world.adapter(tree.trunk, head.number) == expected
    assert isinstance(head.provenance, Provenance)
    assert not head.provenance.residual
    _nothing_is_left(world, tree)
    # A version made by erasing is like any other: it draws, and is trained on.
    follower = world.train(tree.trunk, "pen")
    drawn = world.generate(tree.trunk, head.number)
    world.runner().run_until_idle(KINDS)
    assert world.job(follower).result == TrainResult(lineage_id=tree.trunk, version=6)
    assert world.job(drawn).status is JobStatus.SUCCEEDED


def _while_training(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """Another worker does a job between the end of the next training and its publication."""
    real = train

    def train_then_wait(*arguments: Any) -> Trained:
        monkeypatch.setattr(teaching, "train", real)
        trained = real(*arguments)
        assert world.runner().run_one(KINDS)
        return trained

    monkeypatch.setattr(teaching, "train", train_then_wait)


def test_what_was_trained_meanwhile_on_top_of_the_concept_is_trained_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The branch's worker has read its parent; the trunk's erasure is faster; publishing finds the parent gone."""
    tree = Tree.grow(world, MergeOptions())
    pen = world.train(tree.branch, "pen")
    erase = world.erase(tree.trunk, tree.vase, EraseMode.REFOLD)
    _while_training(monkeypatch, world)
    world.runner().run_until_idle(KINDS)
    assert world.job(erase).status is JobStatus.SUCCEEDED
    assert (world.job(pen).status, world.job(pen).attempt) == (JobStatus.SUCCEEDED, 2)
    head = _head(world, tree.branch)
    assert head.concept_id is not None
    with transaction(world.engine) as session:
        parent = session.get_one(Version, head.parent_id)
    assert parent.number in (4, 5)
    assert isinstance(head.provenance, Provenance)
    assert not head.provenance.residual


def test_a_training_on_top_of_the_concept_stops_at_its_checkpoint_which_is_not_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Tree.grow(world, NaiveOptions())
    pen = world.train(tree.branch, "pen")
    erase = world.erase(tree.trunk, tree.vase, EraseMode.RETRAIN)
    steps: list[int] = []
    real = TrainHooks.step

    def step(self: TrainHooks, step: int, total_steps: int, loss: float | None) -> None:
        real(self, step, total_steps, loss)
        if loss is None:
            return
        steps.append(step)
        if steps == [1, 2, 3]:
            monkeypatch.setattr(TrainHooks, "step", real)
            assert world.runner().run_one(KINDS)
            monkeypatch.setattr(TrainHooks, "step", step_again)

    def step_again(self: TrainHooks, step: int, total_steps: int, loss: float | None) -> None:
        assert loss is None or step > 1 or world.job(pen).checkpoint_object_id is None
        if loss is not None:
            steps.append(step)
        real(self, step, total_steps, loss)

    monkeypatch.setattr(TrainHooks, "step", step)
    world.runner(checkpoint_interval_seconds=0).run_until_idle(KINDS)
    assert world.job(erase).status is JobStatus.SUCCEEDED
    assert (world.job(pen).status, world.job(pen).attempt) == (JobStatus.SUCCEEDED, 2)
    # Three on top of what is gone, and then all of them on top of the stand-in.
    assert steps == [1, 2, 3, *range(1, TRAINING.steps + 1)]


def test_what_works_on_versions_that_go_ends_with_them(world: World) -> None:
    """Jobs that draw with them, score them or train them again, and what another erasure has trained in their place."""
    tree = Tree.grow(world, MergeOptions())
    cup = world.version(tree.trunk, 3)
    assert isinstance(cup.provenance, Provenance)
    erase = world.erase(tree.trunk, tree.vase, EraseMode.REFOLD)
    again, drawn = world.reproduce(tree.trunk, 3), world.generate(tree.branch, 3)
    scored, kept = world.evaluate(tree.trunk, 3), world.generate(tree.trunk, 1)
    other = world.erase(tree.branch, world.version(tree.trunk, 1).concept_id or tree.vase, EraseMode.RETRAIN)
    draft, checkpoint = (describe_object(world.user_id, "adapters", data, "a/b") for data in (b"draft", b"checkpoint"))
    with transaction(world.engine) as session:
        for row in (draft, checkpoint):
            row.status = ObjectStatus.LIVE
            session.add(row)
        session.flush()
        session.add(
            ErasureDraft(job_id=other, version_id=cup.id, adapter_object_id=draft.id, provenance=cup.provenance)
        )
        session.get_one(Job, other).checkpoint_object_id = checkpoint.id
        session.execute(update(Job).where(Job.id.in_([again, drawn, scored, kept, other])).values(not_before=_TOMORROW))
    assert world.runner().run_one(KINDS)
    assert world.job(erase).status is JobStatus.SUCCEEDED
    statuses = [world.job(job_id).status for job_id in (again, drawn, scored, kept, other)]
    assert statuses == [JobStatus.CANCELED] * 3 + [JobStatus.QUEUED] * 2
    assert [world.row(row.id).status for row in (draft, checkpoint)] == [ObjectStatus.DEAD, ObjectStatus.DEAD]
    sweep(world)
    assert world.objects(ObjectStatus.DEAD) == 0


_TOMORROW = func.clock_timestamp() + timedelta(days=1)


def test_a_canceled_erasure_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree.grow(world, MergeOptions())
    objects, heads = world.objects(ObjectStatus.LIVE), [_head(world, line).id for line in (tree.trunk, tree.branch)]
    job_id = world.erase(tree.trunk, tree.vase, EraseMode.RETRAIN)
    _kill_in_second_training(monkeypatch)
    world.runner(checkpoint_interval_seconds=0, retry_backoff_seconds=1000).run_one(KINDS)
    with transaction(world.engine) as session:
        assert session.query(ErasureDraft).count() == 1
        session.execute(update(Job).where(Job.id == job_id).values(status=JobStatus.CANCELED))
    sweep(world)
    assert [_head(world, line).id for line in (tree.trunk, tree.branch)] == heads
    assert (world.objects(ObjectStatus.LIVE), world.objects(ObjectStatus.DEAD)) == (objects, 0)
    with transaction(world.engine) as session:
        assert session.query(ErasureDraft).count() == 0


def test_a_lineage_of_another_origin_keeps_what_it_has_learned(world: World) -> None:
    tree = Tree.grow(world, MergeOptions())
    other = world.lineage()
    with transaction(world.engine) as session:
        job = session.scalars(select(Job).where(Job.lineage_id == tree.trunk).order_by(Job.seq).offset(1)).first()
        assert job is not None
    world.submit(other, job.params)
    world.runner().run_until_idle(KINDS)
    erase = world.erase(tree.trunk, tree.vase, EraseMode.REFOLD)
    world.runner().run_until_idle(KINDS)
    result = world.job(erase).result
    assert isinstance(result, EraseResult)
    assert not result.concept_deleted
    sweep(world)
    with transaction(world.engine) as session:
        assert session.get_one(Concept, tree.vase).deleted_at is None
        learned = session.scalars(select(Version.lineage_id).where(Version.concept_id == tree.vase)).all()
    assert learned == [other]
