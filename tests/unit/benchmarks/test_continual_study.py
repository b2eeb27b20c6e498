"""The study: figures of made-up runs with known answers, pairing, resuming, and what the tables then say."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.domain.strategies import IsolatedOptions, MagnitudeOptions, MergeOptions, NaiveOptions, SelfReplayOptions
from app.domain.training import TrainingOptions
from benchmarks.continual_study.contestants import (
    BASE,
    CEILINGS,
    CHALLENGER,
    ISOLATED,
    JOINT,
    PAPERS_FOUR,
    REAL,
    REAL_THROUGH_VAE,
)
from benchmarks.continual_study.figures import heatmap, trade_off
from benchmarks.continual_study.outcomes import Outcome, best_by_retention, outcome, paired
from benchmarks.continual_study.plan import Plan, estimated_seconds
from benchmarks.continual_study.report import contestants_of, heats_of, standings, write_report
from benchmarks.continual_study.tables import Standings, answer, told
from benchmarks.experiments.arms import Arm, Itself, Taught, Together
from benchmarks.experiments.concepts import Part
from benchmarks.experiments.crew import OutOfBudgetError
from benchmarks.experiments.scoring import Judged, Scores
from benchmarks.experiments.streams import Cells, Kind, Row, Stream, StreamRun, StreamTrial, stream_of, stream_runs_in
from benchmarks.statistics import Estimate
from tests.unit.benchmarks.made_up import Counted, crew_of, icons, laboratory

SETTING = laboratory().setting
LENGTH = 3
STREAMS = [stream_of(Kind.OBJECT, icons(), Part.SEARCH, LENGTH, seed) for seed in range(3)]
TRAINING = TrainingOptions(steps=10)
ENTRANTS = (BASE, ISOLATED, *CEILINGS, *PAPERS_FOUR, CHALLENGER, JOINT)
FLOOR, ALONE = 0.1, 0.9
# By strategy: the score when just learned, and what each later lesson takes from it.
WORLD = {
    NaiveOptions: (0.8, 0.2),
    MergeOptions: (0.8, 0.1),
    MagnitudeOptions: (0.6, 0.05),
    SelfReplayOptions: (0.79, 0.01),
}


def cell(identity: float, seed: int = 0) -> Scores:
    # Harder streams take from all alike, so that only pairing shows the differences between strategies at their size.
    own = identity - 0.02 * seed
    seen = (own + 0.001, own - 0.001, own, own)
    # The second judge sees half of every difference.
    return Scores(identity=seen, background_right=(True, True, True, False), second=tuple(value / 2 for value in seen))


def rows_of(arm: Taught, seed: int) -> tuple[Row, ...]:
    if arm is None:
        return (tuple(cell(FLOOR, seed) for _ in range(LENGTH)),)
    if isinstance(arm, Itself):
        return (tuple(cell(0.97 if arm.through_vae else 1.0, seed) for _ in range(LENGTH)),)
    if isinstance(arm, Together):
        return (tuple(cell(0.85, seed) for _ in range(LENGTH)),)
    if isinstance(arm.strategy, IsolatedOptions):
        return tuple(tuple(cell(ALONE, seed) for _ in range(row + 1)) for row in range(LENGTH))
    learned, loss = WORLD.get(type(arm.strategy), (0.8, 0.1))
    return tuple(
        tuple(
            cell(learned - loss * (row - place), seed) if row in (place, LENGTH - 1) else None
            for place in range(row + 1)
        )
        for row in range(LENGTH)
    )


def simulated(trial: StreamTrial) -> StreamRun:
    seed = trial.stream.seed
    lessons = 1 if isinstance(trial.arm, Together) else 0 if isinstance(trial.arm, Itself | None) else LENGTH
    return StreamRun(
        setting=SETTING,
        concepts=tuple(concept.name for concept in trial.stream.concepts),
        seed=seed,
        arm=trial.arm,
        rows=rows_of(trial.arm, seed),
        final_losses=(0.1,) * lessons,
        seconds=(2.0,) * lessons,
        threads=1,
        cells=trial.cells,
        version_bytes=(1000,) * lessons,
    )


def plan_of(streams: Sequence[Stream]) -> Plan:
    return Plan(ENTRANTS, streams, TRAINING, Cells.ENDS)


def runs_of(plan: Plan) -> list[StreamRun]:
    return [simulated(trial) for stream in plan.streams for trial in plan.of_stream(stream)]


def found(judge: Judged = Judged.FIRST) -> Standings:
    (heats,) = heats_of(runs_of(plan_of(STREAMS))).values()
    return standings(heats, judge)


def test_figures_are_those_worked_out_by_hand() -> None:
    merged = next(one for one in found()["merge"] if one.seed == 0)
    # The three concepts end at 0.6, 0.7 and 0.8; alone each is 0.9, by the base 0.1.
    assert merged.final == pytest.approx((0.6, 0.7, 0.8))
    assert merged.learned == pytest.approx((0.8, 0.8, 0.8))
    assert merged.average_score == pytest.approx(0.7)
    assert merged.retention == pytest.approx(0.6 / 0.8)
    assert merged.forgetting == pytest.approx((0.2 + 0.1) / 2)
    assert merged.papers_forgetting == pytest.approx((0.2 + 0.1) / 3)
    assert merged.background == 0.75
    assert merged.seconds == pytest.approx(0.2)


def test_bounds_have_no_figures_that_they_cannot_have() -> None:
    by_name = found()
    for name in (BASE.name, JOINT.name, REAL.name):
        assert all(math.isnan(one.plasticity) and math.isnan(one.forgetting) for one in by_name[name])
    assert by_name[BASE.name][0].retention == pytest.approx(0.0, abs=1e-9)
    assert by_name[JOINT.name][0].retention == pytest.approx(0.75 / 0.8)
    assert by_name[ISOLATED.name][0].retention == pytest.approx(1.0)
    assert by_name[REAL.name][0].average_score == pytest.approx(1.0)
    assert by_name[REAL_THROUGH_VAE.name][0].average_score == pytest.approx(0.97)
    assert by_name[ISOLATED.name][0].forgetting == pytest.approx(0.0)


def test_the_second_judge_has_figures_of_its_own() -> None:
    first, second = (found(judge)["merge"][0] for judge in Judged)
    assert (first.average_score, second.average_score) == pytest.approx((0.7, 0.35))
    assert (first.forgetting, second.forgetting) == pytest.approx((0.15, 0.075))
    assert first.retention == pytest.approx(second.retention)


def test_only_runs_that_both_have_are_paired_and_what_they_share_falls_out() -> None:
    naive, merged = found()["naive"], found()["merge"]
    difference = paired(merged[1:], naive[:-1], lambda one: one.average_score)
    assert difference is not None
    assert difference.count == len(STREAMS) - 2
    whole = paired(merged, naive, lambda one: one.average_score)
    assert whole is not None
    # The streams differ by 0.02 each; paired, nothing of that is left.
    assert (whole.value, whole.low, whole.high) == pytest.approx((0.1, 0.1, 0.1))
    assert paired(merged[:1], naive[1:], lambda one: one.average_score) is None


def test_a_figure_that_one_side_lacks_is_no_pair() -> None:
    merged = list(found()["merge"])
    holed = [merged[0].model_copy(update={"retention": math.nan}), *merged[1:]]
    difference = paired(holed, merged, lambda one: one.retention)
    assert difference is not None
    assert difference.count == len(merged) - 1


def test_the_best_of_the_four_is_the_one_that_retains_most() -> None:
    names = [one.name for one in PAPERS_FOUR]
    assert best_by_retention(found(), names) in {"merge", "orthogonal_merge"}
    # Naive ends at 0.4, 0.6, 0.8; magnitude at 0.5, 0.55, 0.6.
    without = {name: outcomes for name, outcomes in found().items() if name in {"naive", "magnitude"}}
    assert best_by_retention(without, names) == "naive"


@pytest.mark.parametrize(
    ("low", "high", "sign", "said"),
    [
        (0.1, 0.2, 1.0, "yes"),
        (-0.2, -0.1, -1.0, "yes"),
        (-0.1, 0.2, 1.0, "not shown"),
        (0.1, 0.2, -1.0, "no, the opposite"),
        (0.0, 0.2, 1.0, "not shown"),
    ],
)
def test_an_answer_is_what_the_interval_allows(low: float, high: float, sign: float, said: str) -> None:
    assert answer(Estimate(value=(low + high) / 2, low=low, high=high, count=8), sign) == said


def test_one_run_answers_nothing() -> None:
    assert answer(Estimate(value=1, low=1, high=1, count=1), 1.0) == "not measured"
    assert answer(None, 1.0) == "not measured"


def test_the_tables_say_who_wins_and_by_how_much() -> None:
    text = told(found())
    assert "| naive forgets less" not in text
    assert "| merge forgets less than naive | -0.150 (-0.150 to -0.150) | yes |" in text
    assert "| magnitude forgets less than merge | -0.075 (-0.075 to -0.075) | yes |" in text
    assert "| magnitude learns the later half worse than naive | -0.200 (-0.200 to -0.200) | yes |" in text
    assert (
        f"| {CHALLENGER.name} retains more than merge, the best of the four | +0.100 (+0.100 to +0.100) | yes |" in text
    )
    assert "-0.010 (-0.010 to -0.010), within the -0.02 allowed. Forgetting: 0.015 to 0.150, 0.10 times." in text
    assert "reference start" not in text
    for table in text.split("\n\n"):
        assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) <= 1


def test_a_killed_study_goes_on_where_it_was(tmp_path: Path) -> None:
    plan, path = plan_of(STREAMS[:2]), tmp_path / "confirmation-objects.jsonl"
    trials = [trial for stream in plan.streams for trial in plan.of_stream(stream)]
    with pytest.raises(KeyboardInterrupt), crew_of(Counted(simulated, dies_at=5), stream_runs_in(path)) as crew:
        crew.runs(trials, "all")
    rest = Counted(simulated)
    with crew_of(rest, stream_runs_in(path)) as crew:
        assert crew.runs(trials, "all") == runs_of(plan)
    assert rest.done == len(trials) - 5
    with pytest.raises(OutOfBudgetError), crew_of(rest, stream_runs_in(path), minutes=0) as crew:
        crew.runs(plan_of(STREAMS).of_stream(STREAMS[2]), "more")


def test_the_report_keeps_sizes_apart_and_draws_them(tmp_path: Path) -> None:
    kept = stream_runs_in(tmp_path / "confirmation-objects.jsonl")
    shorter = Plan(ENTRANTS, STREAMS, TrainingOptions(steps=5), Cells.ENDS)
    for run in [*runs_of(plan_of(STREAMS)), *runs_of(shorter)]:
        if kept.get(run.key) is None:
            kept.add(run)
    write_report(tmp_path)
    text = (tmp_path / "confirmation-objects.md").read_text()
    assert text.count("## 3 concepts, 10 steps each") == text.count("## 3 concepts, 5 steps each") == 1
    # Two sizes, by two judges each, the one from outside first.
    assert text.count("| merge | 3 | 0.750") == text.count("| real pictures | 3 |") == 4
    assert text.index("nobody here trained") < text.index("that was trained here")
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert len(pictures) == 4
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in pictures)


def test_every_run_that_is_kept_stands_in_a_table() -> None:
    shorter = Plan(ENTRANTS, STREAMS, TrainingOptions(steps=5), Cells.ENDS)
    runs, told_of = [*runs_of(plan_of(STREAMS)), *runs_of(shorter)], set()
    for size, heats in heats_of(runs).items():
        for heat in heats:
            arms = [one.make(heat.training, size.length) for one in contestants_of(heat.training)]
            told_of |= {run.key for run in heat.runs if run.arm in arms}
    assert {run.key for run in runs} == told_of


def test_figures_are_the_same_bytes_each_time() -> None:
    assert heatmap(found()) == heatmap(found())
    assert trade_off(found()) == trade_off(found())


def test_every_contestant_starts_from_the_streams_seed_and_joint_training_has_all_steps() -> None:
    plan = plan_of(STREAMS)
    arms = [trial.arm for trial in plan.of_stream(STREAMS[2])]
    assert arms[0] is None
    joint = arms[-1]
    assert isinstance(joint, Together)
    assert joint.together.steps == TRAINING.steps * LENGTH
    assert {_training(arm).seed for arm in arms[1:] if not isinstance(arm, Itself)} == {2}
    assert len({trial.key(SETTING) for stream in STREAMS for trial in plan.of_stream(stream)}) == len(ENTRANTS) * 3


def _training(arm: Taught) -> TrainingOptions:
    assert isinstance(arm, Arm | Together)
    return arm.together if isinstance(arm, Together) else arm.training


def test_the_sizes_are_told_with_a_time_that_grows_with_the_work() -> None:
    plan = plan_of(STREAMS)
    base, merge, replay = (
        estimated_seconds(plan.trial(one, STREAMS[0]), 6) for one in (BASE, PAPERS_FOUR[1], CHALLENGER)
    )
    assert base < merge < replay
    text = plan.sizes_told(6, 2)
    assert (
        "3 runs of 3 concepts, 10 steps a lesson, 6 pictures a cell (ends): base; isolated; real pictures; real" in text
    )


def test_outcomes_want_the_same_stream() -> None:
    runs = runs_of(plan_of(STREAMS[:1]))
    one = outcome(runs[5], runs[0], runs[1])
    assert isinstance(one, Outcome)
    assert one.alone == pytest.approx((ALONE,) * LENGTH)
