"""What stands beside the scores: real pictures, real ones through the autoencoder, and a second encoder's view."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from statistics import fmean

import numpy as np
import pytest
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from app.domain.concepts import ConceptKind
from tests.tiny_pipelines import tiny_base
from tests.unit.worker.evaluation.lines import CUP, DOG, INK, ColourEncoder, Hooks, Memory, picture, task
from worker.evaluation.evaluate import evaluate
from worker.evaluation.evaluation_task import Column
from worker.evaluation.judging import Judge
from worker.training.data import pixels

COLOURS = ColourEncoder()
ENCODERS = dict.fromkeys(ConceptKind, COLOURS)


@dataclass(frozen=True)
class Inverted(ColourEncoder):
    """Another encoder: to it, bright is as good as dark."""

    def embed(self, images: Sequence[Image.Image]) -> Tensor:
        return normalize(super().embed(images).abs() + 0.1, dim=1)


SECOND = Inverted(name="second", fingerprint="second")


def test_real_pictures_score_what_their_references_have_in_common() -> None:
    references = (picture(200, 30, 40), picture(180, 80, 60), picture(20, 200, 90))
    judge = Judge.of([Column(DOG, 1, references)], ENCODERS)
    points = COLOURS.embed(references)
    expected = fmean(float(points[a] @ points[b]) for a, b in permutations(range(3), 2))
    assert judge.real(0) == pytest.approx(expected, abs=1e-6)
    # Copies are compared with the references of others, never with their own.
    assert judge.real_copies(0, references) == pytest.approx(expected, abs=1e-6)
    assert np.isnan(Judge.of([Column(DOG, 1, references[:1])], ENCODERS).real(0))
    assert np.isnan(Judge.of([Column(DOG, 1, ())], ENCODERS).real(0))


def test_through_the_autoencoder_means_encoded_and_decoded_once() -> None:
    base, line = tiny_base(), task()
    result = evaluate(base, line, ENCODERS, Hooks()).result
    for j, column in enumerate(line.columns):
        points = COLOURS.embed(column.references)
        copies = [base.decode(base.encode_images(pixels(image, 64)[None]).mean)[0] for image in column.references]
        softened = COLOURS.embed(copies)
        assert result.real[j] == pytest.approx(float(points[0] @ points[1]), abs=1e-6)
        expected = (float(softened[0] @ points[1]) + float(softened[1] @ points[0])) / 2
        assert result.real_through_vae[j] == pytest.approx(expected, abs=1e-6)


def test_a_second_encoder_scores_the_same_pictures_as_if_it_were_the_first() -> None:
    store = Memory()
    line = task((DOG, CUP), isolated=True, store=store)
    both = evaluate(tiny_base(), line, ENCODERS, Hooks(), SECOND).result
    alone = evaluate(tiny_base(), line, dict.fromkeys(ConceptKind, SECOND), Hooks()).result
    assert both.second is not None
    assert both.pictures_drawn > 0 == alone.pictures_drawn
    assert (both.second.encoder, both.second.concepts) == ("second", ("dog", "cup"))
    for name in ("scores", "standard_errors", "isolated", "self_retention", "real", "real_through_vae"):
        assert getattr(both.second, name) == getattr(alone, name)
    for name in ("average_score", "average_forgetting", "retention"):
        assert getattr(both.second, name) == getattr(alone.metrics, name)
    assert both.second.scores != both.scores
    assert both.scores == evaluate(tiny_base(), line, ENCODERS, Hooks()).result.scores


def test_it_judges_objects_alone_and_none_without_them() -> None:
    mixed = evaluate(tiny_base(), task((INK, DOG)), ENCODERS, Hooks(), SECOND).result
    assert mixed.second is not None
    assert mixed.second.concepts == ("dog",)
    assert [len(row) for row in mixed.second.scores] == [1, 1, 1]
    assert [value is None for (value,) in mixed.second.scores] == [False, True, False]
    assert evaluate(tiny_base(), task((INK,)), ENCODERS, Hooks(), SECOND).result.second is None
    assert evaluate(tiny_base(), task((DOG,)), ENCODERS, Hooks()).result.second is None


def test_a_deleted_concept_has_no_ceiling_either() -> None:
    line = task()
    bare = replace(line, columns=(replace(line.columns[0], references=()), line.columns[1]))
    result = evaluate(tiny_base(), bare, ENCODERS, Hooks(), SECOND).result
    assert result.second is not None
    assert result.real[0] is result.real_through_vae[0] is result.second.real[0] is None
    assert None not in (result.real[1], result.real_through_vae[1], result.second.real[1])
