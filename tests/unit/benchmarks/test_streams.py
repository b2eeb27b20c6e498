"""Streams: every strategy is taught on the same footing, and R has what each version draws of each concept."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from app.domain.strategies import CLoraOptions, EwcOptions, IsolatedOptions, MergeOptions, StrategyOptions
from app.domain.training import TrainingOptions
from benchmarks.experiments.arms import Together
from benchmarks.experiments.concepts import STYLE_SETS, Part
from benchmarks.experiments.scoring import Scores
from benchmarks.experiments.streams import (
    Cells,
    Kind,
    StreamRun,
    StreamTrial,
    line_of,
    perform_stream,
    stream_of,
)
from benchmarks.headroom.runs import Trial, perform
from tests.unit.benchmarks.made_up import icons, laboratory
from worker.evaluation.metrics import average_forgetting, average_score, plasticity

STREAM = stream_of(Kind.OBJECT, icons(), Part.TUNING, 2, seed=1)
TRAINING = TrainingOptions(rank=2, steps=2, batch_size=1, learning_rate=1e-2)
LABORATORY = laboratory(pictures=2)
FREE = EwcOptions(lam=0, fisher_samples=2)
BOUND = EwcOptions(lam=1e3, fisher_samples=2)


@cache
def run_under(strategy: StrategyOptions | None) -> StreamRun:
    trial = StreamTrial(STREAM, None) if strategy is None else STREAM.under(strategy, TRAINING)
    return perform_stream(LABORATORY, trial)


@pytest.mark.parametrize("strategy", [MergeOptions(), CLoraOptions(), FREE, IsolatedOptions()], ids=lambda s: s.name)
def test_the_first_version_is_that_of_an_adapter_learned_alone(strategy: StrategyOptions) -> None:
    alone = perform(LABORATORY, Trial(STREAM.concepts[0], TRAINING.model_copy(update={"seed": STREAM.seed})))
    run = run_under(strategy)
    assert [len(row) for row in run.rows] == [1, 2]
    assert run.rows[0][0] == alone.scores
    assert run.final_losses[0] == alone.final_loss


def test_later_versions_draw_the_earlier_concepts_otherwise_but_isolated_ones_do_not() -> None:
    merged, isolated = run_under(MergeOptions()), run_under(IsolatedOptions())
    assert merged.rows[1][0] != merged.rows[0][0]
    assert isolated.rows[1][0] == isolated.rows[0][0]
    assert isolated.rows[1][1] != run_under(None).rows[0][1]


def test_what_a_strategy_keeps_reaches_its_next_task() -> None:
    """Importance is measured after the first task; were it lost on the way, the second one would be that of merge."""
    assert run_under(BOUND).rows[1] != run_under(FREE).rows[1]
    assert run_under(FREE).rows[1] == run_under(MergeOptions()).rows[1]


def test_the_base_draws_every_concept_once_and_training_leaves_it_as_it_was() -> None:
    base = run_under(None)
    assert [len(row) for row in base.rows] == [2]
    perform_stream(LABORATORY, STREAM.under(CLoraOptions(), TRAINING))
    assert perform_stream(LABORATORY, StreamTrial(STREAM, None)) == base


def test_drawing_the_ends_alone_leaves_out_cells_and_changes_none() -> None:
    stream = stream_of(Kind.OBJECT, icons(), Part.TUNING, 3, seed=1)
    trial = stream.under(MergeOptions(), TRAINING)
    every, ends = (perform_stream(LABORATORY, replace(trial, cells=cells)) for cells in Cells)
    assert [[cell is not None for cell in row] for row in ends.rows] == [[True], [False, True], [True, True, True]]
    for whole, part in zip(every.rows, ends.rows, strict=True):
        assert all(cell is None or cell == own for own, cell in zip(whole, part, strict=True))
    assert every.key != ends.key == replace(trial, cells=Cells.ENDS).key(LABORATORY.setting)


def test_all_together_are_learned_in_one_training_of_one_adapter() -> None:
    together = Together(together=TRAINING.model_copy(update={"steps": 4}))
    run = perform_stream(LABORATORY, StreamTrial(STREAM, together))
    assert [len(row) for row in run.rows] == [2]
    assert len(run.seconds) == len(run.version_bytes) == 1
    assert all(own != other for own, other in zip(run.rows[0], run_under(None).rows[0], strict=True))
    assert run.rows == perform_stream(LABORATORY, StreamTrial(STREAM, together)).rows
    assert perform_stream(LABORATORY, StreamTrial(STREAM, None)) == run_under(None)


def test_a_version_keeps_an_adapter_and_what_its_strategy_tells_the_next() -> None:
    assert run_under(MergeOptions()).version_bytes == run_under(CLoraOptions()).version_bytes
    (merged, _), (with_importance, _) = run_under(MergeOptions()).version_bytes, run_under(FREE).version_bytes
    assert merged < with_importance < 2 * merged


@pytest.mark.parametrize("length", [1, 3])
def test_streams_of_styles_are_orders_of_the_parts_sets(length: int) -> None:
    seeds = range(12)
    streams = [stream_of(Kind.STYLE, icons(), Part.CONFIRMATION, length, seed) for seed in seeds]
    orders = {tuple(concept.name for concept in stream.concepts) for stream in streams}
    assert {name for order in orders for name in order} == set(STYLE_SETS[Part.CONFIRMATION])
    assert len(orders) > 1
    with pytest.raises(ValueError, match="4 concepts were asked for"):
        stream_of(Kind.STYLE, icons(), Part.CONFIRMATION, 4, 0)


def test_the_matrix_has_the_cells_in_their_places() -> None:
    def cell(*identity: float) -> Scores:
        return Scores(identity=identity, background_right=(True, True))

    base = run_under(None).model_copy(update={"rows": ((cell(0, 0.2), cell(0.1, 0.1)),)})
    rows = ((cell(0.8, 0.9),), (cell(0.5, 0.6), cell(0.7, 0.8)))
    line = line_of(base.model_copy(update={"rows": rows}), base)
    np.testing.assert_allclose(line.scores, [[0.1, 0.1], [0.85, np.nan], [0.55, 0.75]])
    assert average_score(line) == pytest.approx(0.65)
    assert plasticity(line) == pytest.approx(0.8)
    assert average_forgetting(line) == pytest.approx(0.3)


def test_a_key_tells_everything_apart_that_the_pictures_depend_on() -> None:
    setting = LABORATORY.setting
    other_seed = stream_of(Kind.OBJECT, icons(), Part.TUNING, 2, seed=2)
    trials = [
        StreamTrial(STREAM, None),
        STREAM.under(MergeOptions(), TRAINING),
        STREAM.under(MergeOptions(), TRAINING.model_copy(update={"steps": 4})),
        STREAM.under(EwcOptions(lam=1), TRAINING),
        STREAM.under(EwcOptions(lam=2), TRAINING),
        other_seed.under(MergeOptions(), TRAINING),
    ]
    others = [setting.model_copy(update={"base": "another"}), setting.model_copy(update={"object_encoder": "another"})]
    keys = {trial.key(place) for trial in trials for place in (setting, *others)}
    assert len(keys) == len(trials) * 3
    assert run_under(MergeOptions()).key == trials[1].key(setting)
