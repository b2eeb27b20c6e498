"""Base models as the front end knows them: a name, where the weights are, and what training may adapt."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from app.domain.base import Value
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

BaseModelName = Annotated[str, StringConstraints(pattern=BASE_MODEL_NAME)]


class Family(StrEnum):
    """The pipeline class that loads the base: `StableDiffusionPipeline` or `StableDiffusionXLPipeline`."""

    SD = "sd"
    SDXL = "sdxl"

    @property
    def denoiser(self) -> str:
        """The pipeline's component that is adapted: what every name in an exported adapter begins with."""
        return "unet"


class BaseModelManifest(Value):
    """What is known of a base model; the embedded one carries it as `palimpsest.json` beside its weights."""

    name: BaseModelName
    family: Family
    resolution: Resolution = Field(description="Pixels of the side that the model was trained at.")
    rare_tokens: tuple[str, ...] = Field(min_length=1, description="Single tokens for concepts, in order of use.")
    adapted_modules: ModuleNames = ("to_q", "to_k", "to_v", "to_out.0")
    default_steps: int = Field(25, ge=1, le=200, description="Sampling steps of a generation that does not say.")
    default_guidance_scale: float = Field(4.0, ge=0, le=30)
    training_defaults: TrainingOverrides = TrainingOverrides()
    neutral_prompts: tuple[str, ...] = ()
    evaluation: EvaluationProtocol = Field(
        EvaluationProtocol(), description="What versions are evaluated with, where nothing else is asked for."
    )
    license: str = ""

    def prompts_of_anything(self) -> tuple[str, ...]:
        """The neutral prompts, or the defaults where there are none."""
        return self.neutral_prompts or DEFAULT_NEUTRAL_PROMPTS
