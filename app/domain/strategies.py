"""The continual strategies' names and typed options; their algorithms are in `worker/strategies/`, one file each.

The mathematics is in docs/strategies.md; the paper is arXiv 2410.04891.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from app.domain.base import Value


class StrategyInfo(Value):
    """What `GET /v1/strategies` tells about a strategy, beside its options' schema."""

    summary: str
    source: str
    cost: str


class Fold(StrEnum):
    """How a version's update joins the chain's; exports and drawing go by it.

    `choose`: it is added only for prompts that name the version's concept. Another strategy then builds on all of them.
    """

    ADD = "add"
    REPLACE = "replace"
    SELECT = "select"
    CHOOSE = "choose"

    @property
    def makes_runs(self) -> bool:
        """Whether all versions of a stretch under the strategy start over the version beneath that stretch."""
        return self in (Fold.REPLACE, Fold.CHOOSE)


# Of every strategy, `refolds`: whether a concept that came before can be erased by folding the chain without it. It can
# not where training distils or overwrites what came before into the factors that follow.


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
    refolds: ClassVar[bool] = False


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
    refolds: ClassVar[bool] = True


class OrthogonalBasis(StrEnum):
    """What the initial A is made orthogonal to; `reference` is what the paper's released code does instead."""

    SPAN = "span"
    PREVIOUS = "previous"
    REFERENCE = "reference"


class OrthogonalMergeOptions(Value):
    """Merge, and start the next adapter orthogonal to what was learned.

    Whether `strict` refuses depends on the shapes of the base's projections and on the rank of what was learned. Only
    the worker knows them. There the job fails with `invalid-input` before its first step.
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
    refolds: ClassVar[bool] = True

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
    refolds: ClassVar[bool] = True


class CLoraOptions(Value):
    """Merge, and hold new updates off the weights that earlier ones changed most."""

    info: ClassVar[StrategyInfo] = StrategyInfo(
        summary="As merge, with a penalty on changing again the weights that earlier concepts changed most.",
        source="arXiv 2304.06027, C-LoRA in Continual Diffusion",
        cost="That of plain LoRA training, and per step one product of matrices for each adapted projection.",
    )
    name: Literal["c_lora"] = "c_lora"
    lam: float = Field(
        0.001,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description="Weight of the penalty in the loss. Too much of it keeps the new concept from being learned.",
    )
    fixed_within_run: ClassVar[tuple[str, ...]] = ()
    fold: ClassVar[Fold] = Fold.ADD
    refolds: ClassVar[bool] = True


class ReplayStart(StrEnum):
    """How an adapter of `self_replay` starts: as one of `merge`, or as one of `null_space`."""

    GAUSSIAN = "gaussian"
    NULL_SPACE = "null_space"


class SelfReplayOptions(Value):
    """Merge, and hold the model to what its parent version predicts for the earlier concepts' prompts."""

    info: ClassVar[StrategyInfo] = StrategyInfo(
        summary="As merge, while the parent version, from latents that it draws itself, teaches what it knows already.",
        source="arXiv 2311.14028 and arXiv 2509.23593, self-replay with teacher distillation",
        cost="Two to four times that of plain LoRA training, by replay_batch_size. At the start also the drawing of "
        "latents for every earlier concept.",
    )
    name: Literal["self_replay"] = "self_replay"
    lam: float = Field(
        1.0,
        ge=0,
        le=1000,
        allow_inf_nan=False,
        description="Weight of staying with the parent version on earlier concepts' prompts.",
    )
    mu: float = Field(
        0.25,
        ge=0,
        le=1000,
        allow_inf_nan=False,
        description="Weight of staying with the base on neutral prompts.",
    )
    latents_per_concept: int = Field(
        4, ge=1, le=64, description="Latents that the parent version draws for each earlier concept."
    )
    neutral_latents: int = Field(
        8, ge=1, le=256, description="Latents that the base draws in all, for the neutral prompts in turn."
    )
    sampling_steps: int = Field(20, ge=1, le=200, description="Denoising steps by which each latent is drawn.")
    replay_batch_size: int = Field(
        2, ge=1, le=64, description="Latents per optimizer step of each of the two terms, drawn with replacement."
    )
    start: ReplayStart = Field(
        ReplayStart.GAUSSIAN,
        description="As merge starts, or as null_space does, which keeps earlier prompts' keys and values as they are.",
    )
    fixed_within_run: ClassVar[tuple[str, ...]] = ()
    fold: ClassVar[Fold] = Fold.ADD
    refolds: ClassVar[bool] = False


class NullSpaceOptions(Value):
    """Merge, and keep what earlier prompts feed to cross-attention out of the new adapter's sight."""

    info: ClassVar[StrategyInfo] = StrategyInfo(
        summary="As merge, but keys and values of earlier concepts' prompts stay exactly as they are.",
        source="arXiv 2404.00228, InfLoRA, and arXiv 2601.19659, KeepLoRA; here for cross-attention's text inputs",
        cost="A little less per step than plain LoRA training; at the start a few gradients of the whole model.",
    )
    name: Literal["null_space"] = "null_space"
    gradient_batches: int = Field(
        8, ge=1, le=256, description="Batches that the gradient which the new directions follow is averaged over."
    )
    fixed_within_run: ClassVar[tuple[str, ...]] = ()
    fold: ClassVar[Fold] = Fold.ADD
    refolds: ClassVar[bool] = True


class EwcOptions(Value):
    """Merge, and hold new updates off the weights that earlier concepts' losses are sensitive to."""

    info: ClassVar[StrategyInfo] = StrategyInfo(
        summary="As merge, with a penalty on changing the weights that earlier concepts' losses are sensitive to.",
        source="arXiv 2602.17559, elastic weight consolidation in delta space; arXiv 1612.00796, EWC",
        cost="That of plain LoRA training, and after the last step the gradients of fisher_samples single images.",
    )
    name: Literal["ewc"] = "ewc"
    lam: float = Field(
        0.02,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description="Weight of the penalty in the loss. Too much of it keeps the new concept from being learned.",
    )
    gamma: float = Field(
        1.0, ge=0, le=1, allow_inf_nan=False, description="What share of the earlier importance each version keeps."
    )
    fisher_samples: int = Field(
        32, ge=1, le=1024, description="Images, each with a noise and timestep, that importance is measured on."
    )
    fixed_within_run: ClassVar[tuple[str, ...]] = ()
    fold: ClassVar[Fold] = Fold.ADD
    refolds: ClassVar[bool] = False


class IsolatedOptions(Value):
    """One adapter for each concept, all trained from the base, used as a prompt names them."""

    info: ClassVar[StrategyInfo] = StrategyInfo(
        summary="Train each concept from the base, apart from all others, and draw with those that the prompt names.",
        source="arXiv 2208.12242 with arXiv 2106.09685: one DreamBooth LoRA for each concept. Outside the regime of "
        "arXiv 2410.04891, since it keeps every adapter: the upper bound for retention",
        cost="That of plain LoRA training.",
    )
    name: Literal["isolated"] = "isolated"
    fixed_within_run: ClassVar[tuple[str, ...]] = ()
    fold: ClassVar[Fold] = Fold.CHOOSE
    refolds: ClassVar[bool] = True


StrategyOptions = (
    NaiveOptions
    | MergeOptions
    | OrthogonalMergeOptions
    | MagnitudeOptions
    | CLoraOptions
    | SelfReplayOptions
    | NullSpaceOptions
    | EwcOptions
    | IsolatedOptions
)
AnyStrategy = Annotated[StrategyOptions, Field(discriminator="name")]

STRATEGIES: dict[str, type[StrategyOptions]] = {
    options.model_fields["name"].default: options for options in get_args(StrategyOptions)
}
