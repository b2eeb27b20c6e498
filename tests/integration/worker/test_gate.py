"""What follows a training: an evaluation where it is wanted, and a gate that may hold the version."""

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import func, update

from app.db.evaluation_tables import Evaluation
from app.db.session import transaction
from app.db.tables import BaseModelRow, Job, Lineage
from app.domain.evaluations import (
    ConceptLoss,
    Encoders,
    EvaluationOptions,
    EvaluationPolicy,
    EvaluationResult,
    GateMetric,
    GateVerdict,
    PromotionGate,
)
from app.domain.jobs import EvaluateResult, JobKind, JobStatus, TrainResult
from app.domain.lineages import VersionStatus
from tests.integration.worker.world import TRAINING, World
from worker.evaluation.drawing import Studio
from worker.jobs.evaluate import evaluation_run
from worker.jobs.train import promotion

KINDS = tuple(JobKind)
GATE = PromotionGate(metric=GateMetric.SCORE, max_loss=0.05)
GATED = EvaluationPolicy(gate=GATE)


def verdict(*, passed: bool) -> GateVerdict:
    losses = (ConceptLoss(concept="dog", loss=0.3),)
    return GateVerdict(metric=GATE.metric, max_loss=GATE.max_loss, passed=passed, losses=losses)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Lets the next verdicts be this one; what a verdict is made of is tested with the metrics."""

    def judge(passed: bool) -> None:
        monkeypatch.setattr(promotion, "judge_gate", lambda *_: verdict(passed=passed))

    return judge


def head(world: World, lineage_id: UUID) -> UUID | None:
    with transaction(world.engine) as session:
        return session.get_one(Lineage, lineage_id).head_version_id


def trained(world: World, job_id: UUID) -> TrainResult:
    result = world.job(job_id).result
    assert isinstance(result, TrainResult)
    return result


def result_of(world: World, job_id: UUID) -> EvaluationResult | None:
    evaluation_id = trained(world, job_id).evaluation_id
    assert evaluation_id is not None
    return world.evaluation(evaluation_id).result


def test_a_lineage_that_asks_for_it_has_each_new_version_evaluated_by_a_job_of_its_own(world: World) -> None:
    options = EvaluationOptions(samples_per_prompt=1, steps=1)
    lineage_id = world.lineage(evaluation=EvaluationPolicy(after_training=True, options=options))
    job_id = world.train(lineage_id, "dog")
    world.runner().run_one([JobKind.TRAIN])
    assert world.job(job_id).status is JobStatus.SUCCEEDED
    assert result_of(world, job_id) is None
    world.runner().run_one([JobKind.EVALUATE])
    evaluation_id = trained(world, job_id).evaluation_id
    assert evaluation_id is not None
    row = world.evaluation(evaluation_id)
    assert (row.protocol.samples_per_prompt, row.protocol.steps) == (1, 1)
    assert row.protocol.object_prompts == world.base_model.evaluation.object_prompts
    assert world.job(row.job_id).result == EvaluateResult(evaluation_id=evaluation_id)
    assert row.result is not None
    assert row.result.pictures_drawn == 2


def test_a_version_that_keeps_the_rule_becomes_the_head_after_it_was_evaluated(world: World) -> None:
    lineage_id = world.lineage(evaluation=GATED)
    job_id = world.train(lineage_id, "dog")
    world.runner().run_one(KINDS)
    job = world.job(job_id)
    assert (job.status, job.step, job.total_steps) == (JobStatus.SUCCEEDED, TRAINING.steps, TRAINING.steps)
    gate = trained(world, job_id).gate
    assert gate == GateVerdict(metric=GATE.metric, max_loss=GATE.max_loss, passed=True, losses=())
    version = world.version(lineage_id, 1)
    assert (version.status, head(world, lineage_id)) == (VersionStatus.LIVE, version.id)
    assert result_of(world, job_id) is not None


def test_a_version_that_breaks_the_rule_is_held_and_the_head_stays_for_the_next(
    world: World, judged: Callable[[bool], None]
) -> None:
    lineage_id = world.lineage(evaluation=GATED)
    job_id, next_id = world.train(lineage_id, "dog"), world.train(lineage_id, "vase")
    judged(False)
    world.runner().run_one(KINDS)
    assert world.job(job_id).status is JobStatus.SUCCEEDED
    assert trained(world, job_id).gate == verdict(passed=False)
    assert world.version(lineage_id, 1).status is VersionStatus.HELD
    assert head(world, lineage_id) == world.version(lineage_id, 0).id
    judged(True)
    world.runner().run_one(KINDS)
    assert world.job(next_id).status is JobStatus.SUCCEEDED
    newest = world.version(lineage_id, 2)
    assert (newest.parent_id, newest.status) == (world.version(lineage_id, 0).id, VersionStatus.LIVE)


def test_the_next_training_waits_for_the_gate(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lineage_id = world.lineage(evaluation=GATED)
    first, second = world.train(lineage_id, "dog"), world.train(lineage_id, "vase")
    ran: list[bool] = []
    draw = Studio._draw

    def drawing(*args: object) -> object:
        ran.append(world.runner().run_one([JobKind.TRAIN]))
        monkeypatch.setattr(Studio, "_draw", draw)
        return draw(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(Studio, "_draw", drawing)
    world.runner().run_one(KINDS)
    assert ran == [False]
    assert world.job(first).status is JobStatus.SUCCEEDED
    assert world.job(second).status is JobStatus.QUEUED


def test_a_worker_that_stops_at_the_gate_loses_neither_the_version_nor_the_pictures(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lineage_id = world.lineage(evaluation=GATED)
    job_id = world.train(lineage_id, "dog")
    put = evaluation_run.carry_out

    def stopped(*args: object) -> object:
        world.shutdown.set()
        return put(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluation_run, "carry_out", stopped)
    world.runner().run_one(KINDS)
    assert world.job(job_id).status is JobStatus.QUEUED
    held = world.version(lineage_id, 1)
    assert (held.status, trained(world, job_id).version) == (VersionStatus.HELD, 1)
    monkeypatch.undo()
    world.shutdown.clear()
    monkeypatch.setattr("worker.jobs.teaching.train", lambda *_: pytest.fail("trained again"))
    world.runner().run_one(KINDS)
    assert world.job(job_id).status is JobStatus.SUCCEEDED
    assert world.version(lineage_id, 1).status is VersionStatus.LIVE
    assert head(world, lineage_id) == held.id


def test_an_evaluation_that_fails_leaves_the_version_held(world: World) -> None:
    protocol = world.base_model.evaluation
    missing = protocol.model_copy(update={"encoders": Encoders(object="no-such-encoder")})
    with transaction(world.engine) as session:
        row = session.get_one(BaseModelRow, world.base_model.name)
        row.manifest = row.manifest.model_copy(update={"evaluation": missing})
    lineage_id = world.lineage(evaluation=GATED)
    job_id = world.train(lineage_id, "dog")
    world.runner().run_one(KINDS)
    job = world.job(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.type == "encoder"
    assert (trained(world, job_id).version, trained(world, job_id).gate) == (1, None)
    assert world.version(lineage_id, 1).status is VersionStatus.HELD


def test_a_job_that_is_canceled_at_the_gate_leaves_the_version_held(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lineage_id = world.lineage(evaluation=GATED)
    job_id = world.train(lineage_id, "dog")
    carry_out = evaluation_run.carry_out

    def canceled(*args: object) -> object:
        carried_out = carry_out(*args)  # type: ignore[arg-type]
        with transaction(world.engine) as session:
            session.execute(update(Job).values(cancel_requested_at=func.clock_timestamp()))
        return carried_out

    monkeypatch.setattr(evaluation_run, "carry_out", canceled)
    world.runner().run_one(KINDS)
    assert world.job(job_id).status is JobStatus.CANCELED
    assert world.version(lineage_id, 1).status is VersionStatus.HELD
    assert result_of(world, job_id) is None


def test_a_head_that_moves_during_the_evaluation_stays_where_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lineage_id = world.lineage()
    world.train(lineage_id, "dog")
    world.runner().run_one(KINDS)
    with transaction(world.engine) as session:
        session.get_one(Lineage, lineage_id).evaluation = GATED
    job_id = world.train(lineage_id, "vase")
    carry_out = evaluation_run.carry_out
    zero = world.version(lineage_id, 0).id

    def moved(*args: object) -> object:
        with transaction(world.engine) as session:
            session.get_one(Lineage, lineage_id).head_version_id = zero
        return carry_out(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluation_run, "carry_out", moved)
    world.runner().run_one(KINDS)
    assert world.job(job_id).status is JobStatus.SUCCEEDED
    assert world.version(lineage_id, 2).status is VersionStatus.HELD
    assert head(world, lineage_id) == zero
    with transaction(world.engine) as session:
        assert session.query(Evaluation).count() == 1
