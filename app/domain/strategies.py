"""The continual strategies' names and typed options; their algorithms are in `worker/strategies/`, one file each.

The mathematics is in docs/strategies.md; the paper is arXiv 2410.04891.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from app.domain.base import Value
from app.domain.training import TrainingOptions


class StrategyInfo(Value):
    """What `GET /v1/strategies` tells about a strategy, beside its options' schema."""

    summary: str
    source: str
    cost: str


class Fold(StrEnum):
    """What a version's update does to the chain's, where that can be told in factors; exports go by it."""

    ADD = "add"
    REPLACE = "replace"


class NaiveOptions(Value):
    """One adapter, trained on and on."""

    info: ClassVar[StrategyInfo] = StrategyInfo(
        summary="Keep training one adapter on each new concept in turn; nothing protects the earlier ones.",
        source="arXiv 2410.04891, naive fine-tuning",
        cost="That of plain LoRA training.",
    )
    name: Literal["naive"] = "naive"
    fixed_within_run: ClassVar[tuple[str, ...]] = ("rank", "alpha", "adapted_modules")
    fold: ClassVar[Fold] = Fold.REPLACE


class MergeOptions(Value):
    """Merge and initialise: a fresh adapter on top of everything learned so far."""

    info: ClassVar[StrategyInfo] = StrategyInfo(
        summary="Train a fresh adapter on top of the merged earlier ones, then merge it as well.",
        source="arXiv 2410.04891, Merge & Init",
        cost="That of plain LoRA training.",
    )
    name: Literal["merge"] = "merge"
    fixed_within_run: ClassVar[tuple[str, ...]] = ()
    fold: ClassVar[Fold] = Fold.ADD


StrategyOptions = NaiveOptions | MergeOptions
AnyStrategy = Annotated[StrategyOptions, Field(discriminator="name")]

STRATEGIES: dict[str, type[StrategyOptions]] = {
    options.model_fields["name"].default: options for options in get_args(StrategyOptions)
}


def changed_within_run(
    parent: tuple[StrategyOptions, TrainingOptions] | None, own: tuple[StrategyOptions, TrainingOptions]
) -> tuple[str, ...]:
    """The training options that differ from the parent's although the strategy fixes them while its run goes on.

    A naive run trains on one adapter, whose shape cannot change on the way; a fresh adapter may have any shape.
    """
    if parent is None or parent[0] != own[0]:
        return ()
    return tuple(name for name in own[0].fixed_within_run if getattr(parent[1], name) != getattr(own[1], name))
