"""The search for the strategies' options: equally many trials for each, on the same streams, and a steady choice."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from app.domain.strategies import STRATEGIES, CLoraOptions, EwcOptions, MergeOptions, SelfReplayOptions, StrategyOptions
from app.domain.training import TrainingOptions
from benchmarks.experiments.arms import Arm
from benchmarks.experiments.concepts import Part
from benchmarks.experiments.crew import OutOfBudgetError
from benchmarks.experiments.scoring import Scores
from benchmarks.experiments.streams import Kind, StreamRun, StreamTrial, stream_of, stream_runs_in
from benchmarks.strategy_options.candidates import CANDIDATES, without_options
from benchmarks.strategy_options.choice import Measured, choose, difference, is_default
from benchmarks.strategy_options.plan import Findings, search
from benchmarks.strategy_options.tables import table
from tests.unit.benchmarks.made_up import Counted, crew_of, icons, laboratory

STREAMS = [stream_of(Kind.OBJECT, icons(), Part.TUNING, 3, seed) for seed in range(2)]
TRAINING = TrainingOptions(steps=7)
SETTING = laboratory().setting
# No default is ever as strong as these.
STRONG = 50.0
FEW: Mapping[str, Sequence[StrategyOptions]] = {
    "c_lora": (CLoraOptions(), CLoraOptions(lam=1e-9), CLoraOptions(lam=STRONG)),
    "ewc": (EwcOptions(), EwcOptions(lam=1e-9), EwcOptions(lam=2e-9)),
}
PER_STREAM = 2 + sum(len(candidates) for candidates in FEW.values())


def simulated(trial: StreamTrial) -> StreamRun:
    """A world in which each later task costs 0.1, but nothing where lam is strong."""
    strategy = trial.arm.strategy if isinstance(trial.arm, Arm) else None
    loss = 0.0 if isinstance(strategy, CLoraOptions | EwcOptions) and strategy.lam >= STRONG else 0.1
    noise = (0.02, -0.02, 0.01, -0.01)

    def cell(age: int) -> Scores:
        identity = tuple(0.9 - loss * age + wobble for wobble in noise)
        return Scores(identity=identity, background_right=(True,) * len(noise))

    count = len(trial.stream.concepts)
    base = (tuple(Scores(identity=noise, background_right=(True,) * len(noise)) for _ in range(count)),)
    rows = tuple(tuple(cell(row - column) for column in range(row + 1)) for row in range(count))
    return StreamRun(
        setting=SETTING,
        concepts=tuple(concept.name for concept in trial.stream.concepts),
        seed=trial.stream.seed,
        arm=trial.arm,
        rows=base if strategy is None else rows,
        final_losses=() if strategy is None else (0.1,) * count,
        seconds=() if strategy is None else (2.0,) * count,
        threads=1,
    )


def found_by(job: Counted[StreamTrial, StreamRun], path: Path, minutes: float = 10.0) -> list[Findings]:
    with crew_of(job, stream_runs_in(path), minutes) as crew:
        return list(search(crew, STREAMS, FEW, TRAINING))


def test_every_strategy_with_options_has_as_many_trials_and_its_default_is_one() -> None:
    assert set(CANDIDATES) | set(without_options()) == set(STRATEGIES)
    assert len({len(set(candidates)) for candidates in CANDIDATES.values()}) == 1
    for name, candidates in CANDIDATES.items():
        assert {candidate.name for candidate in candidates} == {name}
        assert sum(map(is_default, candidates)) == 1


def test_all_candidates_meet_the_same_concepts_with_the_same_seeds(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    found_by(Counted(simulated), path)
    runs = stream_runs_in(path).all()
    taught = [(run, run.arm) for run in runs if isinstance(run.arm, Arm)]
    assert len(runs) == len(STREAMS) * PER_STREAM
    assert {arm.training.seed for _, arm in taught} == {0, 1}
    for seed in (0, 1):
        own = [(run, arm) for run, arm in taught if run.seed == seed]
        assert len({run.concepts for run, _ in own}) == 1
        assert len({arm.training for _, arm in own}) == 1
        assert len({arm.strategy for _, arm in own}) == len(own) == PER_STREAM - 1


def test_a_killed_search_goes_on_where_it_was(tmp_path: Path) -> None:
    expected = found_by(Counted(simulated), tmp_path / "whole.jsonl")
    path = tmp_path / "killed.jsonl"
    with pytest.raises(KeyboardInterrupt):
        found_by(Counted(simulated, dies_at=5), path)
    rest = Counted(simulated)
    assert found_by(rest, path) == expected
    assert rest.done == len(STREAMS) * PER_STREAM - 5
    assert found_by(Counted(simulated, dies_at=0), path) == expected


def test_whole_orders_alone_count(tmp_path: Path) -> None:
    path, one = tmp_path / "trials.jsonl", STREAMS[:1]
    with crew_of(Counted(simulated), stream_runs_in(path)) as crew:
        (first,) = search(crew, one, FEW, TRAINING)
    with crew_of(Counted(simulated, dies_at=0), stream_runs_in(path), minutes=0) as crew:
        rest = search(crew, STREAMS, FEW, TRAINING)
        assert next(rest) == first
        with pytest.raises(OutOfBudgetError, match="order 2"):
            next(rest)


def test_the_table_names_the_winner_and_what_it_lost(tmp_path: Path) -> None:
    text = table(found_by(Counted(simulated), tmp_path / "trials.jsonl")[-1])
    lines = text.splitlines()
    assert "| merge | none | 0.800 | | 0.900 | 0.150 | 100% | 2 | |" in lines
    assert "| c_lora | lam 50.0 | 0.900 | +0.100 ± 0.017 | 0.900 | 0.000 | 100% | 2 | chosen |" in lines
    assert f"| ewc | lam {EwcOptions().lam} | 0.800 | default | 0.900 | 0.150 | 100% | 2 | chosen |" in lines
    assert text.count("chosen |") == len(FEW)
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert "2 orders" in text
    assert "naive, merge, magnitude, isolated" in text


def scored(strategy: StrategyOptions, final: Sequence[float]) -> Measured:
    return Measured(strategy=strategy, final=tuple(final), background=1, plasticity=1, forgetting=0, seconds=1)


def test_a_lead_within_its_standard_error_changes_nothing() -> None:
    default = scored(CLoraOptions(), (0.5, 0.5, 0.5, 0.5))
    noisy = scored(CLoraOptions(lam=STRONG), (0.9, 0.2, 0.9, 0.2))
    sure = scored(CLoraOptions(lam=STRONG), (0.55, 0.56, 0.55, 0.56))
    assert choose([default, noisy]) is default
    assert choose([default, sure]) is sure
    assert difference(sure, default).mean == pytest.approx(0.055)
    # The deviation (n - 1) of 0.05, 0.06, 0.05, 0.06 is 0.01 / sqrt(3); the error is half of that.
    assert difference(sure, default).error == pytest.approx(0.01 / 3**0.5 / 2)


def test_of_ties_the_least_changed_wins_then_the_better_one() -> None:
    default = scored(SelfReplayOptions(), (0.1, 0.1, 0.1, 0.1))
    twice = scored(SelfReplayOptions(lam=50, mu=60), (0.6, 0.4, 0.6, 0.4))
    once = scored(SelfReplayOptions(lam=50), (0.4, 0.58, 0.4, 0.58))
    other = scored(SelfReplayOptions(mu=60), (0.4, 0.59, 0.4, 0.59))
    assert choose([default, twice, once, other]) is other


def test_merge_has_nothing_to_choose() -> None:
    assert is_default(MergeOptions())
    assert "merge" in without_options()
