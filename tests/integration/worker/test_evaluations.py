"""Evaluate jobs from their row to what they publish: what is drawn, what is kept, what goes."""

import io
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from PIL import Image
from sqlalchemy import func, select, update

from app.db.evaluation_tables import Evaluation, EvaluationFile, EvaluationMemo
from app.db.session import transaction
from app.db.tables import Concept, Job, Lineage, ObjectStatus, StoredObject
from app.domain.erasure import EraseMode
from app.domain.evaluations import EvaluationFileName, EvaluationResult
from app.domain.jobs import EvaluateResult, JobKind, JobStatus, Phase
from tests.integration.sweeper.test_collection import sweep
from tests.integration.worker.test_leases import expire, sweeper
from tests.integration.worker.world import World
from worker.evaluation.drawing import Studio
from worker.evaluation.protocol import Shot

KINDS = tuple(JobKind)
PICTURES = 2  # a cell
STEPS = 2


def taught(world: World, *names: str) -> UUID:
    lineage_id = world.lineage()
    for name in names:
        world.train(lineage_id, name)
    world.runner().run_until_idle(KINDS)
    return lineage_id


def evaluation_id(world: World, job_id: UUID) -> UUID:
    result = world.job(job_id).result
    assert isinstance(result, EvaluateResult)
    return result.evaluation_id


def evaluated(world: World, lineage_id: UUID, number: int, *, isolated: bool = False) -> EvaluationResult:
    job_id = world.evaluate(lineage_id, number, isolated=isolated)
    world.runner().run_until_idle(KINDS)
    assert world.job(job_id).status is JobStatus.SUCCEEDED, world.job(job_id).error
    result = world.evaluation(evaluation_id(world, job_id)).result
    assert result is not None
    return result


def files(world: World, evaluation: UUID) -> dict[EvaluationFileName, bytes]:
    with transaction(world.engine) as session:
        rows = session.execute(
            select(EvaluationFile.name, StoredObject)
            .join(StoredObject, StoredObject.id == EvaluationFile.object_id)
            .where(EvaluationFile.evaluation_id == evaluation)
        ).all()
    return {name: world.store.get(row) for name, row in rows}


def count(world: World, *tables: type[object]) -> list[int]:
    with transaction(world.engine) as session:
        return [session.query(table).count() for table in tables]


def delete(world: World, table: type[Concept | Evaluation | Lineage], *conditions: Any) -> None:
    with transaction(world.engine) as session:
        session.execute(update(table).where(*conditions).values(deleted_at=func.clock_timestamp()))


def test_a_line_of_two_versions_and_one_more_costs_one_row(world: World) -> None:
    lineage_id = taught(world, "dog", "vase")
    job_id = world.evaluate(lineage_id, 2, isolated=True)
    world.runner().run_until_idle(KINDS)
    job = world.job(job_id)
    assert (job.status, job.step, job.total_steps) == (JobStatus.SUCCEEDED, 7 * PICTURES * STEPS, 7 * PICTURES * STEPS)
    first = world.evaluation(evaluation_id(world, job_id)).result
    assert first is not None
    assert [(row.version, row.concept) for row in first.versions] == [(0, None), (1, "dog"), (2, "vase")]
    assert [[value is None for value in row] for row in first.scores] == [[False] * 2, [False, True], [False] * 2]
    assert (first.pictures_drawn, first.pictures_reused) == (7 * PICTURES, 0)
    assert first.isolated is not None
    assert None not in first.isolated
    assert first.metrics.base_drift is not None
    assert first.metrics.base_drift > 0

    figures = files(world, evaluation_id(world, job_id))
    assert figures.keys() == set(EvaluationFileName)
    for name, data in figures.items():
        if name.media_type == "image/png":
            Image.open(io.BytesIO(data)).verify()
        else:
            assert data.startswith(b"<?xml")

    again = evaluated(world, lineage_id, 2, isolated=True)
    assert (again.pictures_drawn, again.pictures_reused) == (0, 7 * PICTURES)
    assert again.scores == first.scores
    world.train(lineage_id, "cup")
    world.runner().run_until_idle(KINDS)
    longer = evaluated(world, lineage_id, 3)
    assert longer.pictures_drawn == 4 * PICTURES  # three cells of the new row, one of the base's
    assert [row[:2] for row in longer.scores[:3]] == list(first.scores)
    assert world.objects(ObjectStatus.PENDING) == 0


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    def arrange(prompts: int, act: Callable[[], None]) -> None:
        """Act when the pictures of so many prompts are drawn, each prompt's as one batch."""
        draw = Studio._draw
        drawn = []

        def drawing(*args: Any) -> dict[Shot, Image.Image]:
            pictures = draw(*args)
            drawn.append(pictures)
            if len(drawn) == prompts:
                act()
            return pictures

        monkeypatch.setattr(Studio, "_draw", drawing)

    return arrange


def test_a_worker_that_is_told_to_stop_leaves_what_it_has_drawn_to_the_next(
    world: World, stop_after: Callable[[int, Callable[[], None]], None]
) -> None:
    lineage_id = taught(world, "dog")
    job_id = world.evaluate(lineage_id, 1)
    stop_after(1, world.shutdown.set)
    world.runner().run_one(KINDS)
    assert world.job(job_id).status is JobStatus.QUEUED
    assert count(world, EvaluationMemo) == [2]
    world.shutdown.clear()
    world.runner().run_one(KINDS)
    result = world.evaluation(evaluation_id(world, job_id)).result
    assert result is not None
    assert (result.pictures_drawn, result.pictures_reused) == (2, 2)


def test_a_worker_that_was_frozen_past_its_lease_writes_nothing_more(
    world: World, stop_after: Callable[[int, Callable[[], None]], None]
) -> None:
    lineage_id = taught(world, "dog")
    job_id = world.evaluate(lineage_id, 1)

    def freeze() -> None:
        expire(world, job_id)
        sweeper(world).requeue_expired()

    stop_after(1, freeze)
    world.runner(heartbeat_seconds=3600).run_one(KINDS)
    assert count(world, EvaluationMemo, EvaluationFile) == [2, 0]
    assert (world.job(job_id).status, world.job(job_id).attempt) == (JobStatus.QUEUED, 1)
    world.runner().run_one(KINDS)
    assert world.job(job_id).status is JobStatus.SUCCEEDED


def test_a_canceled_evaluation_stops_on_the_way(
    world: World, stop_after: Callable[[int, Callable[[], None]], None]
) -> None:
    lineage_id = taught(world, "dog")
    job_id = world.evaluate(lineage_id, 1)

    def cancel() -> None:
        with transaction(world.engine) as session:
            session.get_one(Job, job_id).cancel_requested_at = func.clock_timestamp()

    stop_after(1, cancel)
    world.runner(heartbeat_seconds=0.01).run_one(KINDS)
    assert world.job(job_id).status is JobStatus.CANCELED
    assert world.evaluation(evaluation_id(world, job_id)).result is None


def test_an_evaluation_that_is_deleted_under_its_job_publishes_nothing(
    world: World, stop_after: Callable[[int, Callable[[], None]], None]
) -> None:
    lineage_id = taught(world, "dog")
    job_id = world.evaluate(lineage_id, 1)
    stop_after(1, lambda: delete(world, Evaluation))
    world.runner().run_one(KINDS)
    assert world.job(job_id).status is JobStatus.CANCELED
    sweep(world)
    assert count(world, Evaluation, EvaluationFile) == [0, 0]


def test_an_encoder_that_cannot_be_loaded_fails_the_job_and_says_so(world: World) -> None:
    lineage_id = taught(world, "dog")
    job_id = world.evaluate(lineage_id, 1)
    with transaction(world.engine) as session:
        row = session.get_one(Evaluation, evaluation_id(world, job_id))
        encoders = row.protocol.encoders.model_copy(update={"object": "no-such-encoder"})
        row.protocol = row.protocol.model_copy(update={"encoders": encoders})
    world.runner().run_one(KINDS)
    job = world.job(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.type == "encoder"


def test_a_deleted_concept_has_no_score_and_takes_its_sheets_along(world: World) -> None:
    lineage_id = taught(world, "dog", "vase")
    before = world.evaluate(lineage_id, 2)
    world.runner().run_until_idle(KINDS)
    delete(world, Concept, Concept.name == "dog")
    sweep(world)
    kept = files(world, evaluation_id(world, before))
    assert kept.keys() == {EvaluationFileName.HEATMAP_PNG, EvaluationFileName.CURVE_PNG, EvaluationFileName.CURVE_SVG}
    after = evaluated(world, lineage_id, 2)
    assert after.pictures_drawn == 0
    assert [concept.references for concept in after.concepts] == [0, 2]
    assert [row[0] for row in after.scores] == [None, None, None]
    assert after.scores[2][1] is not None


def test_a_concept_that_is_deleted_meanwhile_is_shown_by_no_sheet(
    world: World, stop_after: Callable[[int, Callable[[], None]], None]
) -> None:
    lineage_id = taught(world, "dog")
    job_id = world.evaluate(lineage_id, 1)
    stop_after(2, lambda: delete(world, Concept))
    world.runner().run_one(KINDS)
    assert world.job(job_id).status is JobStatus.CANCELED
    assert count(world, EvaluationFile) == [0]


def test_a_deleted_evaluation_takes_its_figures_and_leaves_what_later_ones_can_use(world: World) -> None:
    lineage_id = taught(world, "dog")
    evaluated(world, lineage_id, 1)
    memos = count(world, EvaluationMemo)
    delete(world, Evaluation)
    sweep(world)
    assert count(world, Evaluation, EvaluationFile) == [0, 0]
    assert count(world, EvaluationMemo) == memos
    assert len(world.keys()) == 2 + 1 + memos[0]  # images, adapter, memos


def test_a_deleted_lineage_leaves_nothing_of_its_evaluations(world: World) -> None:
    lineage_id = taught(world, "dog")
    evaluated(world, lineage_id, 1, isolated=True)
    delete(world, Lineage)
    sweep(world)
    assert count(world, Evaluation, EvaluationFile, EvaluationMemo, Job) == [0, 0, 0, 0]
    assert len(world.keys()) == 2  # the concept's images


def test_an_erased_concept_takes_along_what_was_evaluated_of_its_versions(world: World) -> None:
    lineage_id = taught(world, "dog", "vase")
    evaluated(world, lineage_id, 2)
    concept_id = world.version(lineage_id, 1).concept_id
    assert concept_id is not None
    world.erase(lineage_id, concept_id, EraseMode.REFOLD)
    world.runner().run_until_idle(KINDS)
    sweep(world)
    assert count(world, Evaluation, EvaluationFile) == [0, 0]
    with transaction(world.engine) as session:
        kept = session.scalars(select(StoredObject.id).where(StoredObject.kind == "evaluations")).all()
    # What the base has drawn stays.
    assert [len(kept)] == count(world, EvaluationMemo)


def test_two_jobs_that_draw_the_same_picture_keep_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lineage_id = taught(world, "dog")
    evaluated(world, lineage_id, 1)
    memos = count(world, EvaluationMemo)
    # The second one looks before the first has put anything.
    monkeypatch.setattr("worker.jobs.evaluate.memos.VersionMemos.get", lambda *_: None)
    assert evaluated(world, lineage_id, 1).pictures_reused == 0
    assert count(world, EvaluationMemo) == memos
    assert world.objects(ObjectStatus.PENDING) == 0


def test_a_picture_that_was_lost_is_drawn_again(world: World) -> None:
    lineage_id = taught(world, "dog")
    first = evaluated(world, lineage_id, 1)
    with transaction(world.engine) as session:
        png = StoredObject.content_type == "image/png"
        row = session.scalars(
            select(StoredObject).join(EvaluationMemo, EvaluationMemo.object_id == StoredObject.id).where(png).limit(1)
        ).one()
    world.store.delete([row.key])
    second = evaluated(world, lineage_id, 1)
    # The other picture of its prompt is drawn with it, so that both have the bits of before.
    assert (second.pictures_drawn, second.scores) == (2, first.scores)


def test_the_phases_of_an_evaluation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lineage_id = taught(world, "dog")
    phases: list[Phase] = []
    monkeypatch.setattr("worker.attempt.lease.Lease.enter", lambda _, phase: phases.append(phase))
    evaluated(world, lineage_id, 1, isolated=True)
    assert phases == [
        Phase.EVALUATING,
        Phase.ENCODING,
        Phase.TRAINING,
        Phase.EVALUATING,
        Phase.PUBLISHING,
    ]
