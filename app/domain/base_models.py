"""Base models as the front end knows them: a name, where the weights are, and what training may adapt."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from app.domain.base import Value
from app.domain.errors import Fault
from app.domain.evaluations import EvaluationProtocol
from app.domain.patterns import BASE_MODEL_NAME
from app.domain.training import ModuleNames, Resolution, TrainingOverrides

DEFAULT_NEUTRAL_PROMPTS = (
    "a photo",
    "a photo of a person",
    "a photo of an animal",
    "a photo of a house",
    "a photo of food on a table",
    "a landscape",
    "a painting",
    "a drawing of an object",
)
"""For a base whose manifest has none: what any picture might show."""

BaseModelName = Annotated[str, StringConstraints(pattern=BASE_MODEL_NAME, max_length=64)]
RareToken = Annotated[str, StringConstraints(min_length=1, max_length=64)]
NeutralPrompt = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Family(StrEnum):
    """The pipeline class that loads the base: `StableDiffusionPipeline` or `StableDiffusionXLPipeline`."""

    SD = "sd"
    SDXL = "sdxl"

    @property
    def denoiser(self) -> str:
        """The pipeline's component that is adapted: what every name in an exported adapter begins with."""
        return "unet"

    @property
    def components(self) -> tuple[str, ...]:
        """The pipeline's parts that make pictures, in whose files the weights are."""
        return _COMPONENTS[self]


_COMPONENTS = {
    Family.SD: ("scheduler", "text_encoder", "tokenizer", "unet", "vae"),
    Family.SDXL: ("scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae"),
}


class Canvas(Value):
    """The sides in pixels that pictures may have: from `min_side` to `max_side`, in steps of `multiple`."""

    min_side: Resolution
    max_side: Resolution
    multiple: int = Field(8, ge=8, le=1024, multiple_of=8)

    @model_validator(mode="after")
    def _in_order(self) -> "Canvas":
        if self.min_side > self.max_side:
            raise ValueError("min_side must not be larger than max_side")
        return self

    def fault(self, field: str, side: int) -> Fault | None:
        """What is wrong with a side, if anything is."""
        if not self.min_side <= side <= self.max_side:
            return Fault(field=field, message=f"must be from {self.min_side} to {self.max_side} for this base model")
        if side % self.multiple:
            return Fault(field=field, message=f"must be a multiple of {self.multiple} for this base model")
        return None


class BaseModelManifest(Value):
    """What is known of a base model; the embedded one carries it as `palimpsest.json` beside its weights."""

    name: BaseModelName
    family: Family
    resolution: Resolution = Field(description="Pixels of the side that the model was trained at.")
    rare_tokens: tuple[RareToken, ...] = Field(
        min_length=1, max_length=10_000, description="Single tokens for concepts, in order of use."
    )
    adapted_modules: ModuleNames = ("to_q", "to_k", "to_v", "to_out.0")
    default_steps: int = Field(25, ge=1, le=200, description="Sampling steps of a generation that does not say.")
    default_guidance_scale: float = Field(4.0, ge=0, le=30)
    training_defaults: TrainingOverrides = TrainingOverrides()
    neutral_prompts: tuple[NeutralPrompt, ...] = Field((), max_length=100)
    evaluation: EvaluationProtocol = Field(
        EvaluationProtocol(), description="What versions are evaluated with, where nothing else is asked for."
    )
    license: str = Field("", max_length=500)
    canvas: Canvas | None = Field(
        None, description="The sizes that pictures may have; null: squares of the resolution and nothing else."
    )

    @model_validator(mode="after")
    def _draws_its_own_size(self) -> "BaseModelManifest":
        if fault := self.sides.fault("resolution", self.resolution):
            raise ValueError(f"the resolution must be a size of the canvas: {fault.message}")
        composition = self.evaluation.composition
        if composition is not None and any(self.size_faults(composition.width, composition.height)):
            raise ValueError("the evaluation's composition must have a size of the canvas")
        return self

    @property
    def sides(self) -> Canvas:
        """The canvas, also where there is none but the resolution."""
        return self.canvas or Canvas(min_side=self.resolution, max_side=self.resolution)

    @property
    def is_wide(self) -> bool:
        """Whether two things fit side by side, each at the size that the model was trained at."""
        return self.sides.max_side >= 2 * self.resolution

    def size_faults(self, width: int, height: int) -> tuple[Fault, ...]:
        """What is wrong with a size of a picture."""
        faults = (self.sides.fault("width", width), self.sides.fault("height", height))
        return tuple(fault for fault in faults if fault is not None)

    def prompts_of_anything(self) -> tuple[str, ...]:
        """The neutral prompts, or the defaults where there are none."""
        return self.neutral_prompts or DEFAULT_NEUTRAL_PROMPTS
