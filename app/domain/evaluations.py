"""Evaluations: what is drawn to score the versions of a line, and what the scores say. docs/evaluation.md explains it.

Every undefined number is null, never zero.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from app.domain.base import Value
from app.domain.concepts import ConceptKind, TaughtConcept
from app.domain.seeds import MAX_SEED
from app.domain.training import Resolution

CONCEPT = "{concept}"
"""Stands for a concept's words in a template: "{rare token} {class noun}", or "{rare token} style"."""

FIRST, SECOND = "{first}", "{second}"
"""The same, of two concepts in one prompt."""

MAX_SAMPLES_PER_PROMPT = 16


def _names_the_concept(template: str) -> str:
    if template.count(CONCEPT) != 1 or "\0" in template:
        raise ValueError(f"must contain {CONCEPT} once")
    return template


def _names_both(template: str) -> str:
    if template.count(FIRST) != 1 or template.count(SECOND) != 1 or "\0" in template:
        raise ValueError(f"must contain {FIRST} and {SECOND} once each")
    return template


PromptTemplate = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=300), AfterValidator(_names_the_concept)
]
PromptTemplates = Annotated[tuple[PromptTemplate, ...], Field(min_length=1, max_length=10)]
SamplesPerPrompt = Annotated[int, Field(ge=1, le=MAX_SAMPLES_PER_PROMPT)]
SamplingSteps = Annotated[int, Field(ge=1, le=200)]
GuidanceScale = Annotated[float, Field(ge=0, le=30, allow_inf_nan=False)]
FirstSeed = Annotated[int, Field(ge=0, le=MAX_SEED - MAX_SAMPLES_PER_PROMPT)]
EncoderName = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Alignment(StrEnum):
    """How a picture is held to the rest of its prompt. `background`: the colour that it asks for is in the corners."""

    NONE = "none"
    BACKGROUND = "background"


class Encoders(Value):
    """Which encoder compares pictures, by the kind of concept."""

    object: EncoderName = "lite0-what"
    style: EncoderName = "icons-64-how"
    second_object: EncoderName | None = Field(
        "icons-64-what", description="Another that judges the same pictures of objects; null: none. It decides nothing."
    )

    def of(self, kind: ConceptKind) -> str:
        """The name of the encoder for concepts of that kind."""
        return self.object if kind is ConceptKind.OBJECT else self.style


class Composition(Value):
    """How two concepts are asked for in one picture: the left one, `{first}`, and the right one, `{second}`."""

    template: Annotated[str, StringConstraints(strip_whitespace=True, max_length=300), AfterValidator(_names_both)] = (
        "a {first} next to a {second}"
    )
    width: Resolution = Field(description="Pixels; the first concept is looked for in the left half.")
    height: Resolution

    def prompt(self, first: TaughtConcept, second: TaughtConcept) -> str:
        """What is drawn for these two."""
        return self.template.replace(FIRST, first.phrase()).replace(SECOND, second.phrase())


class EvaluationProtocol(Value):
    """Everything that the pictures of a cell and their scores depend on, beside the version and the concept."""

    object_prompts: PromptTemplates = (
        "a photo of {concept}",
        "a photo of {concept} on a beach",
        "a photo of {concept} in the snow",
        "a photo of {concept} in a city",
    )
    style_prompts: PromptTemplates = (
        "{concept} image of a house",
        "{concept} image of a cat",
        "{concept} image of a tree",
        "{concept} image of a person",
    )
    samples_per_prompt: SamplesPerPrompt = Field(4, description="The same noises for every prompt and version.")
    steps: SamplingSteps = 25
    guidance_scale: GuidanceScale = 4.0
    seed: int = Field(
        0, ge=0, le=MAX_SEED - MAX_SAMPLES_PER_PROMPT, description="Sample n of every prompt is drawn with `seed + n`."
    )
    encoders: Encoders = Encoders()
    alignment: Alignment = Alignment.NONE
    composition: Composition | None = Field(
        None, description="Null for a base that cannot draw two things in one picture."
    )

    def templates(self, kind: ConceptKind) -> tuple[str, ...]:
        """The templates for concepts of that kind."""
        return self.object_prompts if kind is ConceptKind.OBJECT else self.style_prompts

    def prompts(self, taught: TaughtConcept) -> tuple[str, ...]:
        """What is drawn for that concept."""
        return tuple(template.replace(CONCEPT, taught.phrase()) for template in self.templates(taught.kind))

    def pictures_per_cell(self, kind: ConceptKind) -> int:
        """How many pictures a score is the mean of."""
        return len(self.templates(kind)) * self.samples_per_prompt

    def overridden(self, options: "EvaluationOptions") -> "EvaluationProtocol":
        """The protocol with what the options say."""
        return self.model_copy(update={name: value for name, value in options if value is not None})


class EvaluationOptions(Value):
    """What of the base model's protocol to change; null: nothing. Results of other protocols do not compare.

    Not the encoders: their names may be folders or repositories, which only an operator may make a worker load.
    """

    object_prompts: PromptTemplates | None = None
    style_prompts: PromptTemplates | None = None
    samples_per_prompt: SamplesPerPrompt | None = None
    steps: SamplingSteps | None = None
    guidance_scale: GuidanceScale | None = None
    seed: FirstSeed | None = None


class EvaluatedVersion(Value):
    """A row of the matrix."""

    version: int = Field(description="0 is the base.")
    concept: str | None = Field(description="What this version learned; null for the base, and for an import.")
    base_drift: float | None = Field(description="How far its predictions are from the base's on neutral prompts.")


class EvaluatedConcept(Value):
    """A column of the matrix, and what is said of this concept alone."""

    name: str
    kind: ConceptKind
    class_noun: str | None
    token: str
    learned_in: int = Field(description="The version that learned it.")
    references: int = Field(description="Reference pictures; 0 once the concept is deleted, and its scores are null.")
    encoder: str
    forgetting: float | None = Field(description="Its best score since it was learned, less its score now.")
    retention: float | None
    self_retention: float | None


Row = tuple[float | None, ...]
Matrix = tuple[Row, ...]


class EvaluationMetrics(Value):
    """What the matrix says in a few numbers; docs/evaluation.md has the formulas."""

    average_score: float | None = Field(description="Higher is better.")
    average_forgetting: float | None = Field(description="Over the concepts learned before the last. Lower is better.")
    average_forgetting_paper: float | None = Field(description="As arXiv 2410.04891 has it. Lower is better.")
    plasticity: float | None = Field(description="Score when just learned. Higher is better.")
    intransigence: float | None = Field(description="What being learned late has cost. Lower is better.")
    backward_transfer: float | None = Field(description="What later concepts did to earlier ones. Higher is better.")
    retention: float | None = Field(description="1: as good as learned alone; 0: as the base. Higher is better.")
    self_retention: float | None = Field(description="1: as when just learned; 0: as the base. Higher is better.")
    base_drift: float | None = Field(description="Of the last version. Lower is better.")
    prompt_alignment: float | None = Field(description="Share of pictures that keep to the prompt. Higher is better.")
    composition: float | None = Field(
        None,
        description="Share of pictures of two objects that show both, in the order asked. Higher is better; null for a "
        "base that draws no two things, and with fewer than two objects.",
    )


class SecondOpinion(Value):
    """The same pictures by another encoder, of the concepts that it judges: what a claim should not hang on."""

    encoder: str
    concepts: tuple[str, ...] = Field(description="The columns, in this order; the rows are the result's versions.")
    scores: Matrix
    standard_errors: Matrix
    isolated: Row | None
    self_retention: Matrix
    real: Row = Field(description="As the result's own.")
    real_through_vae: Row
    average_score: float | None
    average_forgetting: float | None
    retention: float | None


class CompositionScore(Value):
    """How often the last version draws these two objects in one picture, each in its own half."""

    first: str
    second: str
    both: float = Field(description="Share of pictures with the first in the left half and the second in the right.")
    pictures: int


class EvaluationResult(Value):
    """What an evaluation has found. Matrices have a row per version and a column per concept, in these orders."""

    versions: tuple[EvaluatedVersion, ...] = Field(description="The line of ancestry, the base first.")
    concepts: tuple[EvaluatedConcept, ...] = Field(description="In the order in which they were learned.")
    scores: Matrix = Field(description="R: mean cosine of drawn and reference pictures; null before it is learned.")
    standard_errors: Matrix = Field(description="Of the scores, over the pictures of a cell.")
    isolated: Row | None = Field(description="R*: the scores of the concepts learned alone; null unless asked for.")
    real: Row = Field((), description="What real pictures score: each concept's references among themselves.")
    real_through_vae: Row = Field(
        (),
        description="The same for references that went once through the base's autoencoder, which no drawing escapes.",
    )
    self_retention: Matrix
    prompt_alignment: Matrix
    confusion: Matrix = Field(
        description="Row j, column k: how often a picture that the last version draws for j is nearest to k's "
        "references; null across encoders."
    )
    second: SecondOpinion | None = Field(None, description="Null where the base names no second encoder.")
    compositions: tuple[CompositionScore, ...] = Field((), description="Each object with the one learned after it.")
    metrics: EvaluationMetrics
    pictures_drawn: int
    pictures_reused: int = Field(description="Drawn by an earlier evaluation, or an earlier attempt at this one.")
    seconds: float


class EvaluationFileName(StrEnum):
    """The figures of an evaluation."""

    HEATMAP_PNG = "heatmap.png"
    CURVE_PNG = "curve.png"
    CURVE_SVG = "curve.svg"
    SHEET_PNG = "sheet.png"
    SHEET_SVG = "sheet.svg"

    @property
    def media_type(self) -> str:
        """The content type of its file."""
        return "image/png" if self.endswith(".png") else "image/svg+xml"


class GateMetric(StrEnum):
    """What a gate looks at. `score`: R itself, in units of cosine. `self_retention`: the share that is still there."""

    SELF_RETENTION = "self_retention"
    SCORE = "score"


class PromotionGate(Value):
    """No earlier concept may lose more than this from the parent version to the new one."""

    metric: GateMetric = GateMetric.SELF_RETENTION
    max_loss: float = Field(ge=0, le=2, allow_inf_nan=False)


class ConceptLoss(Value):
    """What a new version costs an earlier concept, in units of the gate's metric; below zero it has gained."""

    concept: str
    loss: float | None = Field(description="Null where the metric is undefined: that breaks no rule.")


class GateVerdict(Value):
    """What a gate has found."""

    metric: GateMetric
    max_loss: float
    passed: bool
    losses: tuple[ConceptLoss, ...] = Field(description="Every earlier concept, the greatest loss first.")


class EvaluationPolicy(Value):
    """How a lineage wants its new versions evaluated. A gate evaluates too, before the version becomes the head."""

    after_training: bool = False
    gate: PromotionGate | None = None
    options: EvaluationOptions = EvaluationOptions()
