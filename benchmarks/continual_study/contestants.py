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
    ReplayStart,
    SelfReplayOptions,
    StrategyOptions,
)
from app.domain.training import TrainingOptions
from benchmarks.experiments.arms import Arm, Itself, Taught, Together

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
LARGER_BATCHES = OLD_ALONE.model_copy(update={"replay_batch_size": 6})
STRONGER_REPLAY = REPLAY.model_copy(update={"lam": 10.0})

_FROM_NULL_SPACE = "self_replay, null-space start"


def _beside_null_space(lam: float) -> SelfReplayOptions:
    return LARGER_BATCHES.model_copy(update={"lam": lam, "start": ReplayStart.NULL_SPACE})


BASE = Contestant("base", lambda _, __: None)
ISOLATED = _under("isolated", IsolatedOptions())
JOINT = Contestant("joint training", _together)
REAL = Contestant("real pictures", lambda _, __: Itself(through_vae=False))
REAL_THROUGH_VAE = Contestant("real, through the VAE", lambda _, __: Itself(through_vae=True))
CEILINGS = (REAL, REAL_THROUGH_VAE)
BOUNDS = (BASE, ISOLATED, JOINT, *CEILINGS)

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
# The same for redrawn styles: with some replay, and at no cost without.
STYLE_CHALLENGER = _under(f"{_FROM_NULL_SPACE}, lam 0.1, mu 0, batches of 6", _beside_null_space(0.1))
NULL_SPACE = _under("null_space", NullSpaceOptions())
CHALLENGERS = (CHALLENGER, STYLE_CHALLENGER, NULL_SPACE)
OLD_ALONE_REPLAYED = _under("self_replay, lam 1, mu 0", OLD_ALONE)
REPLAYED_STRONGLY = _under("self_replay, lam 3", REPLAY)
CANDIDATES = (
    CHALLENGER,
    OLD_ALONE_REPLAYED,
    REPLAYED_STRONGLY,
    _under("self_replay, lam 10", STRONGER_REPLAY),
    NULL_SPACE,
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


def _at_rates(name: str, strategy: StrategyOptions, *rates: float) -> tuple[Contestant, ...]:
    return tuple(_under(f"{name}, rate {rate:g}", strategy, learning_rate=rate) for rate in rates)


def _also_at_rates(name: str, strategy: StrategyOptions, *rates: float) -> tuple[Contestant, ...]:
    """At the base's own rate first."""
    return (_under(name, strategy), *_at_rates(name, strategy, *rates))


SWEEP = (*_at_rates(MERGE.name, MergeOptions(), *RATES), *_at_rates(CHALLENGER.name, _CHALLENGERS_OPTIONS, *RATES))
_WEAKLY = OLD_ALONE.model_copy(update={"lam": 0.3})
_STRONGLY = LARGER_BATCHES.model_copy(update={"lam": 3.0})
_MANY_LATENTS = _STRONGLY.model_copy(update={"latents_per_concept": 16})
_A_LITTLE_NEUTRAL = _STRONGLY.model_copy(update={"latents_per_concept": 8, "mu": 0.05})
STYLE_CANDIDATES = (
    REPLAYED_STRONGLY,
    STYLE_CHALLENGER,
    _under(f"{_FROM_NULL_SPACE}, lam 0.3, mu 0, batches of 6", _beside_null_space(0.3)),
    *_also_at_rates(f"{_FROM_NULL_SPACE}, lam 1, mu 0, batches of 6", _beside_null_space(1.0), 4e-3),
    *_also_at_rates(NULL_SPACE.name, NullSpaceOptions(), 4e-3),
    *_also_at_rates("self_replay, lam 0.3, mu 0", _WEAKLY, 4e-3),
    *_also_at_rates("self_replay, lam 1, mu 0, batches of 6", LARGER_BATCHES, 4e-3),
    *_at_rates(MERGE.name, MergeOptions(), 4e-3, 8e-3),
    *_also_at_rates(CHALLENGER.name, _CHALLENGERS_OPTIONS, 4e-3, 8e-3),
    *_also_at_rates(OLD_ALONE_REPLAYED.name, OLD_ALONE, 4e-3, 8e-3),
    *_at_rates("self_replay, lam 3, mu 0, batches of 6", _STRONGLY, 4e-3, 8e-3),
    *_at_rates("self_replay, lam 3, mu 0, batches of 6, 16 latents", _MANY_LATENTS, 4e-3),
    *_at_rates("self_replay, lam 3, mu 0.05, batches of 6, 8 latents", _A_LITTLE_NEUTRAL, 4e-3),
)


def at_equal_compute(training: TrainingOptions) -> Contestant:
    """The challenger in about the time of `merge`."""
    steps = max(1, round(training.steps / REPLAY_TIMES))
    return _under(f"{CHALLENGER.name}, at merge's time", _CHALLENGERS_OPTIONS, steps=steps)
