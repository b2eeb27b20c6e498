"""The metrics, against matrices worked out by hand."""

import numpy as np
import pytest

from worker.evaluation import metrics
from worker.evaluation.metrics import FloatArray, Line

NAN = float("nan")


def line(
    scores: list[list[float]],
    learned_at: tuple[int, ...],
    isolated: list[float] | None = None,
    errors: float = 0.0,
) -> Line:
    count = len(learned_at)
    return Line(
        scores=np.array(scores, dtype=float),
        learned_at=learned_at,
        isolated=np.array([NAN] * count if isolated is None else isolated),
        own_gain_errors=np.full(count, errors),
        isolated_gain_errors=np.full(count, errors),
    )


THREE = line(
    [
        [0.2, 0.3, 0.1],
        [0.8, NAN, NAN],
        [0.6, 0.7, NAN],
        [0.7, 0.4, 0.9],
    ],
    learned_at=(1, 2, 3),
    isolated=[0.9, 0.8, 0.9],
)


def test_three_concepts_by_hand() -> None:
    assert metrics.average_score(THREE) == pytest.approx((0.7 + 0.4 + 0.9) / 3)
    assert metrics.average_forgetting_of_the_paper(THREE) == pytest.approx((0.1 + 0.3 + 0.0) / 3)
    assert metrics.average_forgetting(THREE) == pytest.approx((0.1 + 0.3) / 2)
    assert metrics.plasticity(THREE) == pytest.approx((0.8 + 0.7 + 0.9) / 3)
    assert metrics.intransigence(THREE) == pytest.approx((0.1 + 0.1 + 0.0) / 3)
    assert metrics.backward_transfer(THREE) == pytest.approx((-0.1 - 0.3) / 2)
    assert metrics.retentions(THREE) == pytest.approx([0.5 / 0.7, 0.1 / 0.5, 1.0])
    assert metrics.self_retentions(THREE)[-1] == pytest.approx([0.5 / 0.6, 0.1 / 0.4, 1.0])
    assert metrics.self_retentions(THREE)[2] == pytest.approx([0.4 / 0.6, 1.0, NAN], nan_ok=True)


def test_what_has_improved_since_is_forgetting_below_zero_in_the_standard_alone() -> None:
    improved = line([[0.0, 0.0], [0.5, NAN], [0.7, 0.6]], (1, 2))
    assert metrics.average_forgetting(improved) == pytest.approx(-0.2)
    assert metrics.average_forgetting_of_the_paper(improved) == 0
    assert metrics.backward_transfer(improved) == pytest.approx(0.2)


def test_one_concept_has_nothing_to_forget() -> None:
    single = line([[0.1], [0.6]], (1,), [0.6])
    assert metrics.average_score(single) == metrics.plasticity(single) == 0.6
    assert metrics.average_forgetting_of_the_paper(single) == 0
    assert metrics.retentions(single) == pytest.approx([1.0])
    for undefined in (metrics.average_forgetting, metrics.backward_transfer):
        assert np.isnan(undefined(single))


def test_a_concept_without_references_is_left_out_of_every_mean_and_counts_as_zero_in_none() -> None:
    gone = line([[0.2, NAN, 0.1], [0.8, NAN, NAN], [0.6, NAN, NAN], [0.7, NAN, 0.9]], (1, 2, 3))
    assert metrics.average_score(gone) == pytest.approx(0.8)
    assert metrics.average_forgetting(gone) == pytest.approx(0.1)
    assert metrics.average_forgetting_of_the_paper(gone) == pytest.approx(0.05)
    assert metrics.plasticity(gone) == pytest.approx(0.85)
    assert np.isnan(metrics.self_retentions(gone)[:, 1]).all()


def test_without_isolated_scores_what_needs_them_is_undefined() -> None:
    alone = line([[0.2], [0.8]], (1,))
    assert np.isnan(metrics.intransigence(alone))
    assert np.isnan(metrics.retentions(alone)).all()


def test_nothing_at_all_is_undefined() -> None:
    nothing = line([[NAN, NAN]] * 3, (1, 2))
    for metric in (metrics.average_score, metrics.average_forgetting, metrics.plasticity, metrics.backward_transfer):
        assert np.isnan(metric(nothing))


def test_a_line_may_begin_with_a_version_that_teaches_nothing_and_end_with_one() -> None:
    """An imported version, then two concepts, then another import: rows 0 to 4."""
    imported = line([[0.1, 0.2], [NAN, NAN], [0.6, NAN], [0.5, 0.8], [0.4, 0.7]], (2, 3))
    assert metrics.plasticity(imported) == pytest.approx(0.7)
    assert metrics.average_forgetting(imported) == pytest.approx((0.2 + 0.1) / 2)


def test_a_score_of_a_row_before_the_concept_was_learned_is_no_best_score() -> None:
    lucky = line([[0.9, 0.95], [0.5, 0.9], [0.4, 0.6]], (1, 2))
    assert metrics.average_forgetting(lucky) == pytest.approx(0.1)
    assert metrics.average_forgetting_of_the_paper(lucky) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("learned", "error", "expected"),
    [(0.5, 0.1, 1.0), (0.5, 0.2, 1.0), (0.5, 0.21, NAN), (0.1, 0.0, NAN), (0.05, 0.0, NAN), (0.5, NAN, NAN)],
    ids=["sure", "just", "unsure", "nothing gained", "worse than the base", "one picture"],
)
def test_a_ratio_needs_a_gain_of_two_standard_errors(learned: float, error: float, expected: float) -> None:
    one = line([[0.1], [learned]], (1,), [learned], errors=error)
    assert metrics.self_retentions(one)[1, 0] == pytest.approx(expected, nan_ok=True)
    assert metrics.retentions(one)[0] == pytest.approx(expected, nan_ok=True)


def test_the_errors_are_those_of_differences_between_pictures_of_one_prompt_and_noise() -> None:
    base, learned = [0.1, 0.3, 0.5], [0.5, 0.7, 0.9]
    pictures = np.array([[base], [learned]])
    built = Line.of_pictures(pictures, (1,), np.array([[0.2, 0.4, 0.9]]))
    assert built.scores == pytest.approx(np.array([[0.3], [0.7]]))
    assert built.own_gain_errors == pytest.approx([0.0], abs=1e-12)  # each picture gained the same
    assert built.isolated_gain_errors == pytest.approx([np.std([0.1, 0.1, 0.4], ddof=1) / np.sqrt(3)])
    assert np.isnan(Line.of_pictures(pictures[:, :, :1], (1,)).own_gain_errors).all()


def test_drift_is_the_share_of_the_bases_energy() -> None:
    base = np.array([3.0, 4.0])
    assert metrics.base_drift(base, base) == 0
    assert metrics.base_drift(base + np.array([0.0, 5.0]), base) == pytest.approx(1.0)
    assert np.isnan(metrics.base_drift(base, np.zeros(2)))


def test_confusion_by_hand_with_a_tie() -> None:
    similarities: FloatArray = np.array([[0.9, 0.1, 0.2], [0.4, 0.4, 0.1], [0.3, 0.8, 0.1], [0.1, 0.7, 0.9]])
    shares = metrics.confusion(similarities, [0, 0, 1, 1])
    assert shares[0] == pytest.approx([0.75, 0.25, 0.0])
    assert shares[1] == pytest.approx([0.0, 0.5, 0.5])
    assert np.isnan(shares[2]).all()


def test_confusion_says_nothing_of_what_cannot_be_compared() -> None:
    similarities: FloatArray = np.array([[0.5, NAN], [NAN, 0.7]])
    assert metrics.confusion(similarities, [0, 1]) == pytest.approx(np.array([[1.0, NAN], [NAN, 1.0]]), nan_ok=True)
    assert np.isnan(metrics.confusion(np.full((2, 2), NAN), [0, 1])).all()
    assert np.isnan(metrics.confusion(np.zeros((0, 2)), [])).all()
