"""A whole evaluation over the tiny base: what is drawn, what is reused, what the result says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.domain.concepts import ConceptKind
from app.domain.errors import NotFiniteError
from app.domain.evaluations import EvaluationResult, GateMetric, PromotionGate
from tests.tiny_pipelines import tiny_base
from tests.unit.worker.evaluation.lines import (
    CUP,
    DOG,
    INK,
    PROTOCOL,
    ColourEncoder,
    Hooks,
    Memory,
    picture,
    subject,
    task,
)
from worker.evaluation.drift import DriftMeter
from worker.evaluation.evaluate import evaluate
from worker.evaluation.evaluation_task import EvaluationTask
from worker.evaluation.gate import judge_gate
from worker.evaluation.judging import keeps_to_prompt
from worker.evaluation.protocol import shots

COLOURS = ColourEncoder()
ENCODERS = dict.fromkeys(ConceptKind, COLOURS)


def run(what: EvaluationTask, hooks: Hooks | None = None) -> EvaluationResult:
    return evaluate(tiny_base(), what, ENCODERS, hooks or Hooks()).result


@pytest.fixture(scope="module")
def store() -> Memory:
    return Memory()


@pytest.fixture(scope="module")
def result(store: Memory) -> EvaluationResult:
    return run(task(isolated=True, store=store))


def test_the_result_has_a_row_per_version_and_a_column_per_concept(result: EvaluationResult) -> None:
    assert [(row.version, row.concept) for row in result.versions] == [(0, None), (1, "dog"), (2, "cup")]
    assert [(column.name, column.learned_in, column.references) for column in result.concepts] == [
        ("dog", 1, 2),
        ("cup", 2, 2),
    ]
    defined = [[value is not None for value in row] for row in result.scores]
    assert defined == [[True, True], [True, False], [True, True]]
    assert result.isolated is not None
    assert all(value is not None for value in result.isolated)
    # 5 cells and 2 isolated ones, of 2 prompts x 2 samples each.
    assert (result.pictures_drawn, result.pictures_reused) == (28, 0)


def test_a_score_is_the_mean_pairwise_cosine_of_what_a_version_draws_and_the_references(
    result: EvaluationResult, store: Memory
) -> None:
    line = task()
    for i, row in enumerate(line.rows):
        drawn = [store.picture(shot.key(row.subject.key)) for shot in shots(PROTOCOL, DOG, 64)]
        pairs = [
            float(COLOURS.embed([picture])[0] @ COLOURS.embed([reference])[0])
            for picture in drawn
            for reference in line.columns[0].references
        ]
        assert result.scores[i][0] == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


def test_every_version_is_asked_with_the_same_prompts_and_noises() -> None:
    drawn = shots(PROTOCOL, DOG, 64)
    assert [(shot.sampling.prompt, shot.seed) for shot in drawn] == [
        ("a photo of zqa dog on a red background", 5),
        ("a photo of zqa dog on a red background", 6),
        ("a photo of zqa dog", 5),
        ("a photo of zqa dog", 6),
    ]
    keys = {shot.key(version) for shot in drawn for version in ("one", "two")}
    assert len(keys) == 8


def test_the_base_does_not_drift_from_itself_and_a_larger_update_drifts_further(result: EvaluationResult) -> None:
    drifts = [row.base_drift or 0.0 for row in result.versions]
    assert drifts[0] == 0
    assert 0 < drifts[1] < drifts[2] == result.metrics.base_drift


def test_what_was_drawn_is_not_drawn_again_and_says_the_same(store: Memory, result: EvaluationResult) -> None:
    again = run(task(isolated=True, store=store))
    assert (again.pictures_drawn, again.pictures_reused) == (0, 28)
    assert again.scores == result.scores
    assert again.metrics == result.metrics


def test_one_version_more_costs_its_own_row_and_the_bases_cell(store: Memory, result: EvaluationResult) -> None:
    kept = Memory(dict(store.known))
    longer = run(task((DOG, CUP, INK), store=kept))
    # Of the new row two objects of 4 pictures and a style of 2; of the base the style.
    assert longer.pictures_drawn == 4 + 4 + 2 + 2
    assert [row[:2] for row in longer.scores[:3]] == [row[:2] for row in result.scores]


def test_an_evaluation_that_is_stopped_goes_on_where_it_was_and_leaves_the_base_as_it_was() -> None:
    before = {name: value.clone() for name, value in tiny_base().denoiser.state_dict().items()}
    store = Memory()
    with pytest.raises(InterruptedError):
        run(task(store=store), Hooks(stop_after=17))
    assert len(store.known) == 8
    finished = run(task(store=store))
    assert (finished.pictures_drawn, finished.pictures_reused) == (12, 8)
    after = tiny_base().denoiser.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_the_steps_add_up_to_what_was_announced(store: Memory) -> None:
    for line in (task(store=store), task((DOG, INK), isolated=True)):
        hooks = Hooks()
        run(line, hooks)
        assert hooks.steps == line.total_steps()


def test_concepts_of_different_encoders_are_not_confused_with_each_other() -> None:
    encoders = {ConceptKind.OBJECT: COLOURS, ConceptKind.STYLE: ColourEncoder("others")}
    mixed = evaluate(tiny_base(), task((DOG, INK, CUP)), encoders, Hooks()).result
    assert [concept.encoder for concept in mixed.concepts] == ["colours", "others", "colours"]
    assert [value is None for value in mixed.confusion[0]] == [False, True, False]
    assert mixed.confusion[1] == (None, 1.0, None)
    assert sum(value or 0 for value in mixed.confusion[2]) == pytest.approx(1)


def test_a_concept_without_references_has_no_score_and_stops_nothing(store: Memory) -> None:
    line = task(store=store)
    bare = replace(line, columns=(replace(line.columns[0], references=()), line.columns[1]))
    found = run(bare)
    assert [row[0] for row in found.scores] == [None, None, None]
    assert (found.concepts[0].references, found.concepts[0].self_retention) == (0, None)
    assert found.metrics.plasticity == found.scores[2][1]
    assert found.metrics.average_forgetting is None


def test_alignment_is_whether_the_background_that_the_prompt_names_is_there() -> None:
    pictures = [picture(214, 40, 40), picture(40, 90, 210), picture(214, 40, 40)]
    prompts = ["x on a red background", "x on a red background", "x"]
    assert keeps_to_prompt(PROTOCOL.alignment, pictures, prompts) == pytest.approx([1.0, 0.0, np.nan], nan_ok=True)


def _with_scores(result: EvaluationResult, *rows: tuple[float | None, ...]) -> EvaluationResult:
    return result.model_copy(update={"scores": rows, "self_retention": rows})


@pytest.mark.parametrize("metric", GateMetric)
def test_a_gate_compares_with_the_parent_and_names_the_greatest_loss_first(
    result: EvaluationResult, metric: GateMetric
) -> None:
    gate = PromotionGate(metric=metric, max_loss=0.05)
    lost = judge_gate(gate, _with_scores(result, (0.1, 0.1), (0.9, None), (0.8, 0.7)))
    assert not lost.passed
    assert [each.concept for each in lost.losses] == ["dog"]
    assert lost.losses[0].loss == pytest.approx(0.1)
    for now in (0.9, 0.86, 0.95, None):
        assert judge_gate(gate, _with_scores(result, (0.1, 0.1), (0.9, None), (now, 0.7))).passed


def test_the_concept_that_is_new_is_no_loss(result: EvaluationResult) -> None:
    first = run(task((DOG,)))
    assert judge_gate(PromotionGate(max_loss=0.0), first).losses == ()
    assert judge_gate(PromotionGate(max_loss=0.0), first).passed


def test_a_version_whose_numbers_are_not_finite_fails_the_evaluation_and_leaves_no_picture() -> None:
    store = Memory()
    line = task(store=store)
    broken = replace(line, rows=(*line.rows[:2], replace(line.rows[2], subject=subject("broken", 1e39, store))))
    with pytest.raises(NotFiniteError, match="not finite"):
        run(broken)
    assert not [key for key in store.known if "broken" in key]
    drifting = DriftMeter(tiny_base(), broken.neutral_prompts, 64, 5, Hooks())
    with pytest.raises(NotFiniteError, match="neutral prompts"):
        drifting.of(broken.rows[2].subject)
