"""Who takes part: the paper's four, what is to beat them, the bounds, and a sweep of learning rates."""

from collections.abc import Callable
from dataclasses import dataclass

from app.domain.strategies import (
    IsolatedOptions,
    MagnitudeOptions,
    MergeOptions,
    NaiveOptions,
    NullSpaceOptions,
    OrthogonalBasis,
    OrthogonalMergeOptions,
    SelfReplayOptions,
    StrategyOptions,
)
from app.domain.training import TrainingOptions
from benchmarks.experiments.arms import Arm, Together

Taught = Arm | Together | None
REPLAY_TIMES = 3.0
"""How many times as long as one of `merge` a lesson of the challenger took in its trials, drawing latents included."""
KEYS_AND_VALUES = ("attn2.to_k", "attn2.to_v")


@dataclass(frozen=True)
class Contestant:
    """A row of the tables. `make` gives its arm from the training options of a lesson and the number of lessons."""

    name: str
    make: Callable[[TrainingOptions, int], Taught]


def _under(name: str, strategy: StrategyOptions, **changes: object) -> Contestant:
    def make(training: TrainingOptions, _: int) -> Arm:
        own = TrainingOptions.model_validate(training.model_dump() | changes)
        return Arm(strategy=strategy, training=own)

    return Contestant(name, make)


def _together(training: TrainingOptions, lessons: int) -> Together:
    return Together(together=training.model_copy(update={"steps": training.steps * lessons}))


# Every option is written out that a result hangs on: the rows stay what they are when a default becomes another one.
REPLAY = SelfReplayOptions(lam=3.0, mu=0.0, latents_per_concept=6, sampling_steps=20, replay_batch_size=2)
# What the search of the options kept, on the tuning split.
MILD_REPLAY = SelfReplayOptions(
    lam=1.0, mu=0.25, latents_per_concept=4, neutral_latents=8, sampling_steps=20, replay_batch_size=2
)
OLD_ALONE = MILD_REPLAY.model_copy(update={"mu": 0.0})
STRONGER_REPLAY = REPLAY.model_copy(update={"lam": 10.0})

BASE = Contestant("base", lambda _, __: None)
ISOLATED = _under("isolated", IsolatedOptions())
JOINT = Contestant("joint training", _together)
BOUNDS = (BASE, ISOLATED, JOINT)

MERGE = _under("merge", MergeOptions())
PAPERS_FOUR = (
    _under("naive", NaiveOptions()),
    MERGE,
    _under("orthogonal_merge", OrthogonalMergeOptions(basis=OrthogonalBasis.SPAN)),
    _under("magnitude", MagnitudeOptions()),
)
REFERENCE_STARTS = (
    _under("orthogonal_merge, reference", OrthogonalMergeOptions(basis=OrthogonalBasis.REFERENCE)),
    _under(
        "orthogonal_merge, reference at matched norm",
        OrthogonalMergeOptions(basis=OrthogonalBasis.REFERENCE, match_norm=True),
    ),
)
# Chosen on the search split: of the candidates the one that keeps the most and learns no less than `merge`.
_CHALLENGERS_OPTIONS = MILD_REPLAY
CHALLENGER = _under("self_replay, lam 1, mu 0.25", _CHALLENGERS_OPTIONS)
CANDIDATES = (
    CHALLENGER,
    _under("self_replay, lam 1, mu 0", OLD_ALONE),
    _under("self_replay, lam 3", REPLAY),
    _under("self_replay, lam 10", STRONGER_REPLAY),
    _under("null_space", NullSpaceOptions()),
    _under("null_space, keys and values alone", NullSpaceOptions(), adapted_modules=KEYS_AND_VALUES),
    _under(
        "null_space, keys and values alone, rank 16, rate 0.004",
        NullSpaceOptions(),
        adapted_modules=KEYS_AND_VALUES,
        rank=16,
        learning_rate=4e-3,
    ),
)
RATES = (5e-4, 1e-3, 4e-3)
SWEEP = tuple(
    _under(f"{name}, rate {rate:g}", strategy, learning_rate=rate)
    for name, strategy in (("merge", MergeOptions()), (CHALLENGER.name, _CHALLENGERS_OPTIONS))
    for rate in RATES
)


def at_equal_compute(training: TrainingOptions) -> Contestant:
    """The challenger in about the time of `merge`."""
    steps = max(1, round(training.steps / REPLAY_TIMES))
    return _under(f"{CHALLENGER.name}, at merge's time", _CHALLENGERS_OPTIONS, steps=steps)
