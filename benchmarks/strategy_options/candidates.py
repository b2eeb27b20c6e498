"""What is tried of each strategy: the same number of options, the present default among them."""

from collections.abc import Mapping

from app.domain.strategies import (
    STRATEGIES,
    CLoraOptions,
    EwcOptions,
    NullSpaceOptions,
    OrthogonalBasis,
    OrthogonalMergeOptions,
    SelfReplayOptions,
    StrategyOptions,
)

# Every option that a trial is about is written out: the list stays what it is when a default becomes another one. The
# slowest strategy comes first, so that no process waits for it at the end.
CANDIDATES: Mapping[str, tuple[StrategyOptions, ...]] = {
    # The third: what did best in the trial of issue 5.
    "self_replay": (
        SelfReplayOptions(lam=1.0, mu=0.25, latents_per_concept=4, replay_batch_size=2),
        SelfReplayOptions(lam=3.0, mu=0.25, latents_per_concept=4, replay_batch_size=2),
        SelfReplayOptions(lam=3.0, mu=0.0, latents_per_concept=6, replay_batch_size=2),
    ),
    "c_lora": (CLoraOptions(lam=0.01), CLoraOptions(lam=0.001), CLoraOptions(lam=0.1)),
    # Of gamma nothing can be said on three concepts: it counts from the third task on.
    "ewc": (EwcOptions(lam=0.02), EwcOptions(lam=0.002), EwcOptions(lam=0.2)),
    "null_space": (
        NullSpaceOptions(gradient_batches=8),
        NullSpaceOptions(gradient_batches=2),
        NullSpaceOptions(gradient_batches=32),
    ),
    # Basis `reference` is there to compare with, and never a default.
    "orthogonal_merge": (
        OrthogonalMergeOptions(basis=OrthogonalBasis.SPAN, freeze_a=False),
        OrthogonalMergeOptions(basis=OrthogonalBasis.SPAN, freeze_a=True),
        OrthogonalMergeOptions(basis=OrthogonalBasis.PREVIOUS, freeze_a=False),
    ),
}


def without_options() -> list[str]:
    """The strategies that have nothing to search for."""
    return [name for name, kind in STRATEGIES.items() if set(kind.model_fields) == {"name"}]
