"""First lessons are shared among exactly those strategies whose first adapter is the same to the byte."""

import pytest
import torch

from app.domain.strategies import STRATEGIES, EwcOptions, MergeOptions, ReplayStart, SelfReplayOptions, StrategyOptions
from app.domain.training import TrainingOptions
from benchmarks.experiments.arms import Arm, Learned, learn
from benchmarks.experiments.concepts import Part, draw_objects
from benchmarks.experiments.first_lessons import shared, starts_as_merge
from benchmarks.experiments.scoring import Scores
from tests.unit.benchmarks.made_up import icons, laboratory

LABORATORY = laboratory(pictures=2)
(CONCEPT,) = draw_objects(icons(), Part.TUNING, 1, seed=1)
TRAINING = TrainingOptions(rank=2, steps=2, batch_size=1, learning_rate=1e-2)
SCORES = Scores(identity=(0.5,), background_right=(True,))
QUICK: dict[str, StrategyOptions] = {
    "ewc": EwcOptions(fisher_samples=1),
    "self_replay": SelfReplayOptions(mu=0, sampling_steps=1),
}


def first_under(strategy: StrategyOptions, training: TrainingOptions = TRAINING) -> Learned:
    arm = Arm(strategy=strategy, training=training)
    return learn(LABORATORY.base, LABORATORY.manifest, CONCEPT, LABORATORY.manifest.rare_tokens[0], arm)


MERGED = first_under(MergeOptions())


def is_as_merges(learned: Learned) -> bool:
    own, merged = learned.link.adapter.modules, MERGED.link.adapter.modules
    same = all(torch.equal(own[name].a, merged[name].a) and torch.equal(own[name].b, merged[name].b) for name in merged)
    return own.keys() == merged.keys() and same and not learned.link.strategy_state


@pytest.mark.parametrize(
    "strategy",
    [
        *(QUICK.get(name, kind()) for name, kind in STRATEGIES.items()),
        SelfReplayOptions(mu=1.0, neutral_latents=1, sampling_steps=1),
        SelfReplayOptions(mu=0, sampling_steps=1, start=ReplayStart.NULL_SPACE),
    ],
    ids=lambda strategy: f"{strategy.name}-{getattr(strategy, 'mu', '')}",
)
def test_what_is_shared_would_have_come_out_the_same(strategy: StrategyOptions) -> None:
    assert is_as_merges(first_under(strategy)) == starts_as_merge(strategy)


def test_a_lesson_is_learned_once_for_one_training_at_one_place() -> None:
    done: list[str] = []

    def learning(name: str) -> tuple[Learned, Scores]:
        done.append(name)
        return MERGED, SCORES

    other = TRAINING.model_copy(update={"seed": 5})
    for place, name, training in (
        ("here", "merge", TRAINING),
        ("here", "magnitude", TRAINING),
        ("here", "naive", other),
        ("there", "merge", TRAINING),
        ("here", "ewc", TRAINING),
    ):
        arm = Arm(strategy=STRATEGIES[name](), training=training)
        learned, scores = shared(place, arm, lambda name=name: learning(name))  # type: ignore[misc]
        assert scores == SCORES
        assert learned.link.strategy.name == (name if name != "ewc" else "merge")
    assert done == ["merge", "naive", "merge", "ewc"]
