"""Two concepts in one picture: what counts, which pairs are asked for, and what a base that cannot gets."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from app.domain.concepts import ConceptKind
from app.domain.evaluations import Composition
from tests.tiny_pipelines import tiny_base
from tests.unit.worker.evaluation.lines import CUP, DOG, INK, ColourEncoder, Hooks, Memory, picture, task
from worker.evaluation.composition import both_right, shots
from worker.evaluation.evaluate import evaluate
from worker.evaluation.evaluation_task import Column, EvaluationTask
from worker.evaluation.judging import Judge

RED, BLUE, GREEN = (220, 20, 20), (20, 20, 220), (20, 220, 20)
WIDE = Composition(template="a {first} next to a {second} on a red background", width=128, height=64)
ENCODERS = dict.fromkeys(ConceptKind, ColourEncoder())


def side_by_side(left: tuple[int, int, int], right: tuple[int, int, int]) -> Image.Image:
    canvas = Image.new("RGB", (128, 64), left)
    canvas.paste(right, (64, 0, 128, 64))
    return canvas


def judge() -> Judge:
    """Of a red thing, a blue one and a green one."""
    columns = [Column(DOG, place, (picture(*colour),)) for place, colour in enumerate((RED, BLUE, GREEN), 1)]
    return Judge.of(columns, ENCODERS)


def that_composes(found: EvaluationTask) -> EvaluationTask:
    return replace(found, protocol=found.protocol.model_copy(update={"composition": WIDE}))


@pytest.mark.parametrize(
    ("left", "right", "counts"),
    [(RED, BLUE, 1), (BLUE, RED, 0), (RED, RED, 0), (BLUE, BLUE, 0), (RED, GREEN, 0), (GREEN, BLUE, 0)],
)
def test_a_picture_counts_when_each_half_is_its_own_concepts(
    left: tuple[int, int, int], right: tuple[int, int, int], counts: int
) -> None:
    pictures = [side_by_side(left, right), side_by_side(RED, BLUE)]
    assert both_right(judge(), pictures, (0, 1)).tolist() == [counts, 1]
    assert both_right(judge(), pictures, (1, 0)).tolist() == [int((left, right) == (BLUE, RED)), 0]


def test_each_object_is_asked_for_with_the_next_one_and_the_last_with_the_first() -> None:
    assert that_composes(task((DOG, CUP))).pairs() == ((0, 1), (1, 0))
    # A style is no thing that could stand beside another.
    assert that_composes(task((DOG, INK, CUP))).pairs() == ((0, 2), (2, 0))
    assert that_composes(task((DOG, INK))).pairs() == ()
    forgotten = that_composes(task((DOG, CUP)))
    columns = (forgotten.columns[0], replace(forgotten.columns[1], references=()))
    assert replace(forgotten, columns=columns).pairs() == ()
    assert task((DOG, CUP)).pairs() == ()


def test_the_prompt_names_both_and_the_picture_is_wide() -> None:
    wanted = shots(that_composes(task((DOG, CUP))), (1, 0))
    assert {shot.sampling.prompt for shot in wanted} == {"a zqc cup next to a zqa dog on a red background"}
    assert {(shot.sampling.width, shot.sampling.height) for shot in wanted} == {(128, 64)}
    assert [shot.seed for shot in wanted] == [5, 6]


def test_the_last_versions_pictures_are_what_is_scored() -> None:
    """Whatever the halves of its kept pictures show, that is the share."""
    store, hooks = Memory(), Hooks()
    asked = that_composes(task((DOG, CUP), store=store))
    result = evaluate(tiny_base(), asked, ENCODERS, hooks).result
    assert hooks.steps == asked.total_steps()
    assert [(one.first, one.second, one.pictures) for one in result.compositions] == [
        ("dog", "cup", 2),
        ("cup", "dog", 2),
    ]
    known = Judge.of(asked.columns, ENCODERS)
    for one, pair in zip(result.compositions, asked.pairs(), strict=True):
        drawn = [store.picture(shot.key("version 2")) for shot in shots(asked, pair)]
        assert {image.size for image in drawn} == {(128, 64)}
        assert one.both == both_right(known, drawn, pair).mean()
    assert result.metrics.composition == np.mean([one.both for one in result.compositions])


def test_a_base_that_cannot_has_null() -> None:
    result = evaluate(tiny_base(), task((DOG, CUP)), ENCODERS, Hooks()).result
    assert result.compositions == ()
    assert result.metrics.composition is None
