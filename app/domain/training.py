"""Training options: what a lineage fixes, what one version may override, and their bounds."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from app.domain.base import Value
from app.domain.patterns import MODULE_NAME, STEP_RULES


class LrScheduler(StrEnum):
    """The names of `diffusers.optimization.get_scheduler`."""

    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"
    LINEAR = "linear"
    COSINE = "cosine"
    COSINE_WITH_RESTARTS = "cosine_with_restarts"
    POLYNOMIAL = "polynomial"
    PIECEWISE_CONSTANT = "piecewise_constant"


Rank = Annotated[int, Field(ge=1, le=256)]
Alpha = Annotated[float, Field(gt=0, le=1024, allow_inf_nan=False)]
Steps = Annotated[int, Field(ge=1, le=20_000)]
LearningRate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
BatchSize = Annotated[int, Field(ge=1, le=64)]
Resolution = Annotated[int, Field(ge=64, le=2048, multiple_of=8)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
WarmupSteps = Annotated[int, Field(ge=0, le=20_000)]
GradNorm = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
WeightDecay = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Cycles = Annotated[int, Field(ge=2, le=1000)]
Power = Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)]
StepRules = Annotated[str, Field(pattern=STEP_RULES, max_length=200)]
ModuleName = Annotated[str, Field(pattern=MODULE_NAME, max_length=128)]
ModuleNames = Annotated[tuple[ModuleName, ...], Field(min_length=1, max_length=32)]


_POLYNOMIAL_END = 1e-7  # diffusers' own


class TrainingOptions(Value):
    """How one adapter is trained. Fields left out take the base model's defaults, then these."""

    rank: Rank = Field(8, description="Rank r of the adapter's factors.")
    alpha: Alpha | None = Field(None, description="The update is scaled by alpha / rank. Null: equal to rank.")
    steps: Steps = Field(300, description="Optimizer steps.")
    learning_rate: LearningRate = 2e-3
    batch_size: BatchSize = Field(6, description="Images per optimizer step, drawn with replacement.")
    resolution: Resolution = Field(64, description="Pixels of the square training images' side.")
    seed: Seed = Field(
        0,
        description="With the version's place in its chain: seeds initial factors, noise, timesteps, order of images.",
    )
    lr_scheduler: LrScheduler = LrScheduler.CONSTANT
    lr_warmup_steps: WarmupSteps = 0
    lr_step_rules: StepRules | None = Field(None, description="For piecewise_constant: 'factor:step,..,factor'.")
    lr_cycles: Cycles | None = Field(None, description="For cosine_with_restarts: how often it falls to zero.")
    lr_power: Power | None = Field(None, description="For polynomial: the power by which the rate falls; 1 is linear.")
    max_grad_norm: GradNorm = 1.0
    weight_decay: WeightDecay = 0.0
    adapted_modules: ModuleNames | None = Field(None, description="Names of adapted projections. Null: the base's.")

    @model_validator(mode="after")
    def _fits_the_lr_scheduler(self) -> "TrainingOptions":
        if (self.lr_scheduler is LrScheduler.PIECEWISE_CONSTANT) != (self.lr_step_rules is not None):
            raise ValueError("lr_step_rules goes with lr_scheduler 'piecewise_constant', and only with it")
        if self.lr_cycles is not None and self.lr_scheduler is not LrScheduler.COSINE_WITH_RESTARTS:
            raise ValueError("lr_cycles goes with lr_scheduler 'cosine_with_restarts' only")
        if self.lr_power is not None and self.lr_scheduler is not LrScheduler.POLYNOMIAL:
            raise ValueError("lr_power goes with lr_scheduler 'polynomial' only")
        if self.lr_scheduler is LrScheduler.POLYNOMIAL and self.learning_rate <= _POLYNOMIAL_END:
            raise ValueError(f"lr_scheduler 'polynomial' ends at {_POLYNOMIAL_END}: learning_rate must be greater")
        return self

    @property
    def scale(self) -> float:
        """`s = alpha / r`, the factor of `B A`."""
        return (self.alpha or self.rank) / self.rank

    def step_rules(self) -> tuple[list[int], list[float]]:
        """The steps at which the factors of `lr_step_rules` change, and the factors: one more."""
        *pairs, last = (self.lr_step_rules or "1").split(",")
        factors, ends = zip(*(pair.split(":") for pair in pairs), strict=True) if pairs else ((), ())
        return [int(end) for end in ends], [*map(float, factors), float(last)]

    def overridden(self, overrides: "TrainingOverrides") -> "TrainingOptions":
        """These options with the fields that `overrides` sets.

        Raises:
            pydantic.ValidationError: the combination is not valid.
        """
        return TrainingOptions.model_validate(self.model_dump() | overrides.model_dump())


class TrainingOverrides(Value):
    """Any of the training options; what is left out is inherited."""

    rank: Rank = 8
    alpha: Alpha | None = None
    steps: Steps = 300
    learning_rate: LearningRate = 2e-3
    batch_size: BatchSize = 6
    resolution: Resolution = 64
    seed: Seed = 0
    lr_scheduler: LrScheduler = LrScheduler.CONSTANT
    lr_warmup_steps: WarmupSteps = 0
    lr_step_rules: StepRules | None = None
    lr_cycles: Cycles | None = None
    lr_power: Power | None = None
    max_grad_norm: GradNorm = 1.0
    weight_decay: WeightDecay = 0.0
    adapted_modules: ModuleNames | None = None

    @model_serializer(mode="wrap")
    def _what_is_set(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Without what is inherited: read back from JSON, a default written out would override."""
        return {name: value for name, value in serialize(self).items() if name in self.model_fields_set}
