"""The sweep: runs that are kept and not done again, a budget that holds, and a search that finds what is best."""

import math
from pathlib import Path

import pytest

from app.domain.concepts import ConceptKind
from app.domain.evaluations import Encoders
from app.domain.training import TrainingOptions
from benchmarks.base_quality.vae import round_trip
from benchmarks.experiments.concepts import Concept, Part, draw_objects, draw_styles
from benchmarks.experiments.crew import OutOfBudgetError
from benchmarks.experiments.scoring import Scores, score
from benchmarks.headroom import tables
from benchmarks.headroom.runs import Ceiling, Run, Trial, ceilings, gain, perform, runs_in
from benchmarks.headroom.search import FINALISTS, MODULES, START, Candidate, sweep
from benchmarks.statistics import standardised_gain
from tests.unit.benchmarks.made_up import Counted, crew_of, icons, laboratory

CONCEPTS = [*draw_objects(icons(), Part.TUNING, 3, 0), *draw_styles(icons(), Part.TUNING, 1, 0)]
SETTING = laboratory().setting
PICTURES = 8


def simulated(trial: Trial) -> Run:
    """A world in which rank 16, 4e-3 and all modules are best, and more than 300 steps lose the background."""
    training = trial.training
    merit, deviation = 0.0, 0.0
    if training is not None:
        deviation = 0.15
        merit = 0.1 - 0.02 * abs(math.log2(training.rank / 16)) - 0.01 * abs(math.log2(training.learning_rate / 4e-3))
        merit += 0.01 * len(training.adapted_modules or ()) + 1e-4 * training.steps
    wrong = training is not None and training.steps > 300
    return Run(
        setting=SETTING,
        concept=trial.concept.name,
        kind=trial.concept.kind,
        training=training,
        scores=Scores(
            identity=tuple(0.3 + merit + (deviation if n % 2 else -deviation) for n in range(PICTURES)),
            background_right=(not wrong,) * PICTURES,
        ),
        final_loss=None,
        seconds=1.0,
        threads=1,
    )


def test_a_killed_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = Counted(simulated)
    with crew_of(whole, runs_in(tmp_path / "whole.jsonl")) as crew:
        expected = dict(sweep(crew, CONCEPTS))
    path = tmp_path / "killed.jsonl"
    with pytest.raises(KeyboardInterrupt), crew_of(Counted(simulated, dies_at=17), runs_in(path)) as crew:
        dict(sweep(crew, CONCEPTS))
    with path.open("a") as file:
        file.write('{"setting": {"base": "tor')
    rest = Counted(simulated)
    with crew_of(rest, runs_in(path)) as crew:
        found = dict(sweep(crew, CONCEPTS))
    assert found == expected
    assert rest.done == whole.done - 17
    with crew_of(Counted(simulated, dies_at=0), runs_in(path)) as crew:
        assert dict(sweep(crew, CONCEPTS)) == expected


def test_results_of_another_base_are_not_taken_for_this_ones(tmp_path: Path) -> None:
    trial = Trial(CONCEPTS[0], START)
    other = SETTING.model_copy(update={"base": "another"})
    assert trial.key(other) != trial.key(SETTING) == simulated(trial).key


def test_no_run_is_begun_after_the_budget(tmp_path: Path) -> None:
    job = Counted(simulated)
    with (
        pytest.raises(OutOfBudgetError, match="base"),
        crew_of(job, runs_in(tmp_path / "runs.jsonl"), minutes=0) as crew,
    ):
        dict(sweep(crew, CONCEPTS))
    assert job.done == 0


def test_the_search_finds_the_best_of_each_stage_and_minds_the_background(tmp_path: Path) -> None:
    with crew_of(simulated, runs_in(tmp_path / "runs.jsonl")) as crew:
        found = dict(sweep(crew, CONCEPTS))
    best = found[FINALISTS][0].training
    assert (best.rank, best.learning_rate, best.steps) == (16, 4e-3, 300)
    assert best.adapted_modules == max(MODULES.values(), key=len)
    assert len(found[FINALISTS][0].gains) == len(CONCEPTS)
    table = tables.sweep_tables(found)
    assert "| attention, feed-forward, convolutions | 16 | 0.004 | 300 |" in table
    assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1


def test_the_confirmation_counts_what_was_learned() -> None:
    gains = [gain(simulated(Trial(c, START)), simulated(Trial(c, None))) for c in CONCEPTS]
    enough, little = (gains[0].first.model_copy(update={"standardised": value}) for value in (1.5, 1.4))
    learned = [gain.model_copy(update={"first": enough}) for gain in gains[1:]]
    unlearned = gains[0].model_copy(update={"first": little, "second": enough, "background": 0.5, "seconds": 61.0})
    firsts = [Ceiling(real=real, through_vae=real - 0.3) for real in (2.0, 1.5, 1.4, 0.3)]
    own = [(firsts[0], None), (firsts[1], None), (firsts[2], None), (firsts[3], firsts[0])]
    table = tables.confirmation_table([*learned, unlearned], own, Encoders())
    ours, theirs = table.split("which was trained here")
    assert "75% (30% to 95%) of 4 concepts; real pictures: 2, through the VAE: 1." in ours
    assert "By `lite0-what` (objects)" in ours
    assert "100% (21% to 100%) of 1 concepts; real pictures: 1, through the VAE: 1." in theirs
    assert "Background right: 88%" in table
    assert "at most 61 s" in table


@pytest.mark.parametrize("concept", CONCEPTS[-2:], ids=lambda concept: concept.kind)
def test_the_ceiling_is_what_the_concepts_own_icons_gain_over_the_base(concept: Concept) -> None:
    """The base's pictures are given scores a known way below those of the icons."""
    tiny = laboratory()
    asked = concept.asked("zqa", PICTURES)
    icons = concept.itself(asked)
    own, softened = (score(tiny.encoders, concept, asked, p).identity for p in (icons, round_trip(tiny.base, icons)))
    below = tuple(value - (0.3 if n % 2 else 0.1) for n, value in enumerate(own))
    second = below if concept.kind is ConceptKind.OBJECT else ()
    scores = Scores(identity=below, background_right=(), second=second)
    base = simulated(Trial(concept, None)).model_copy(update={"scores": scores})
    expected = 0.2 / (0.1 * math.sqrt(PICTURES / (PICTURES - 1)))
    first, other = ceilings(tiny, concept, base)
    assert first.real == pytest.approx(expected, rel=1e-4)
    assert first.through_vae == pytest.approx(standardised_gain(softened, below), rel=1e-4)
    # Both look at the same colours here, and only objects have two.
    assert other == (first if concept.kind is ConceptKind.OBJECT else None)


def test_both_judges_are_reported_and_the_first_decides() -> None:
    """Of two options, one is better by the first judge and one by the second."""
    base, run = simulated(Trial(CONCEPTS[0], None)), simulated(Trial(CONCEPTS[0], START))
    noisy = tuple(0.3 + (0.1 if n % 2 else -0.1) for n in range(PICTURES))
    up, down = (tuple(value + step + 0.001 * n for n, value in enumerate(noisy)) for step in (0.2, -0.2))
    gains = []
    for identity, second in ((up, down), (down, up)):
        judged = [
            one.model_copy(update={"scores": one.scores.model_copy(update={"identity": i, "second": s})})
            for one, i, s in ((run, identity, second), (base, noisy, noisy))
        ]
        gains.append(gain(*judged))
    assert gains[0].first == gains[1].second
    assert gains[0].second == gains[1].first
    merits = [Candidate(training=START, gains=(one,)).merit for one in gains]
    assert merits[0] > merits[1]


@pytest.mark.parametrize("concept", CONCEPTS[-2:], ids=lambda concept: concept.kind)
def test_a_run_is_the_same_each_time_and_leaves_the_base_alone(concept: Concept) -> None:
    tiny = laboratory()
    training = TrainingOptions(rank=2, steps=3, batch_size=2, learning_rate=1e-2)
    base, trained, again = (perform(tiny, Trial(concept, t)) for t in (None, training, None))
    assert base.scores == again.scores
    assert base.scores.identity != trained.scores.identity
    assert len(trained.scores.identity) == len(trained.scores.background_right) == 4
    assert trained.final_loss is not None
    assert perform(tiny, Trial(concept, training)).scores == trained.scores
