"""The continual strategies' names and typed options; their algorithms are in `worker/strategies/`, one file each.

The mathematics is in docs/strategies.md; the paper is arXiv 2410.04891.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, model_validator

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
    SELECT = "select"


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


class OrthogonalBasis(StrEnum):
    """What the initial A is made orthogonal to; `reference` is what the paper's released code does instead."""

    SPAN = "span"
    PREVIOUS = "previous"
    REFERENCE = "reference"


class OrthogonalMergeOptions(Value):
    """Merge, and start the next adapter orthogonal to what was learned.

    Whether `strict` refuses depends on the shapes of the base's projections and on the rank of what was learned, which
    only the worker knows: there the job fails with `invalid-input` before its first step.
    """

    info: ClassVar[StrategyInfo] = StrategyInfo(
        summary="As merge, but the fresh adapter starts in directions that the earlier ones do not use.",
        source="arXiv 2410.04891, Merge & Orthogonal Init",
        cost="That of plain LoRA training, and one singular value decomposition per adapted projection at the start.",
    )
    name: Literal["orthogonal_merge"] = "orthogonal_merge"
    basis: OrthogonalBasis = Field(
        OrthogonalBasis.SPAN,
        description="A starts orthogonal to the whole accumulated update (span) or to the parent's A alone (previous); "
        "reference repeats the released code, to compare with.",
    )
    freeze_a: bool = Field(
        False, description="Train B alone, so that A stays as it started. The first task trains both, as merge does."
    )
    match_norm: bool = Field(
        False, description="With basis reference: rescale A to the gaussian init's norm, as the other bases always do."
    )
    strict: bool = Field(
        False, description="Fail rather than leave out of the basis what finds no room beside the adapter's rank."
    )
    fixed_within_run: ClassVar[tuple[str, ...]] = ()
    fold: ClassVar[Fold] = Fold.ADD

    @model_validator(mode="after")
    def _options_fit_the_basis(self) -> "OrthogonalMergeOptions":
        reference = self.basis is OrthogonalBasis.REFERENCE
        if self.match_norm and not reference:
            raise ValueError("match_norm goes with basis 'reference' only: the others always match the norm")
        if self.strict and reference:
            raise ValueError("strict goes with the bases 'span' and 'previous': 'reference' leaves nothing out")
        return self


class MagnitudeOptions(Value):
    """Merge by the larger magnitude, element by element."""

    info: ClassVar[StrategyInfo] = StrategyInfo(
        summary="Train a fresh adapter, then keep for each weight the change, old or new, that is larger.",
        source="arXiv 2410.04891, magnitude-based selection; arXiv 2407.06322, MagMax",
        cost="That of plain LoRA training.",
    )
    name: Literal["magnitude"] = "magnitude"
    fixed_within_run: ClassVar[tuple[str, ...]] = ()
    fold: ClassVar[Fold] = Fold.SELECT


StrategyOptions = NaiveOptions | MergeOptions | OrthogonalMergeOptions | MagnitudeOptions
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
