"""Adapter files in words that every part shares."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from app.domain.base import Value

MAX_RANK = 4096
"""Of an import and of an export: beyond it a file says nothing that a full matrix would not."""

Rank = Annotated[int, Field(ge=1, le=MAX_RANK)]


class AdapterFormat(StrEnum):
    """`diffusers`: peft's names, for `pipe.load_lora_weights`. `kohya`: the names of kohya's scripts and of UIs."""

    DIFFUSERS = "diffusers"
    KOHYA = "kohya"


class Precision(StrEnum):
    """In which numbers an export is written."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"


class Method(StrEnum):
    """How a file makes an update of a layer; docs/adapter-files.md has the formulas."""

    LORA = "LoRA"
    DORA = "DoRA"
    LOHA = "LoHa"
    LOKR = "LoKr"
    DIFF = "full difference"
    IA3 = "IA3"


class ScaleSource(StrEnum):
    """What told the scale of a module's update.

    `request`: the form. `tensor`: an alpha in the file. `config`: `adapter_config.json`. `header`: the file's metadata.
    `convention`: nothing; all tools that know such names take 1. `method`: the method has no scale.
    """

    REQUEST = "request"
    TENSOR = "tensor"
    CONFIG = "config"
    HEADER = "header"
    CONVENTION = "convention"
    METHOD = "method"


class UsedScale(Value):
    """A scale that an import used, what told it, and for how many modules."""

    scale: float
    source: ScaleSource
    modules: int


Finite = Annotated[float, Field(allow_inf_nan=False)]
_Pattern = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class PeftConfig(Value):
    """What a configuration of peft (`adapter_config.json`) says of scales; all else in it is left out.

    `alpha` is LoHa's and LoKr's word for `lora_alpha`.
    """

    model_config = ConfigDict(extra="ignore")

    r: int | None = Field(None, ge=0, le=10**6)
    lora_alpha: Finite | None = None
    alpha: Finite | None = None
    use_rslora: bool = False
    alpha_pattern: dict[_Pattern, Finite] = Field(default_factory=dict, max_length=MAX_RANK)
    rank_pattern: dict[_Pattern, int] = Field(default_factory=dict, max_length=MAX_RANK)
    init_lora_weights: str | bool | None = None

    def default_alpha(self) -> float | None:
        """The alpha of modules that no pattern names."""
        return self.alpha if self.lora_alpha is None else self.lora_alpha


class ImportOptions(Value):
    """What an import is told beside its file.

    `alpha` and `scale` say the update's scale where the file does not, or other than it does: `scale` itself, or
    `alpha / rank`. `strength` multiplies the whole update. With `max_rank` every module is cut to that rank.
    """

    alpha: Finite | None = Field(None, gt=0, le=1e6)
    scale: Finite | None = Field(None, gt=0, le=1e6)
    strength: Finite = Field(1.0, ge=-10, le=10)
    max_rank: Rank | None = None
    ignore_text_encoder: bool = False
    config: PeftConfig | None = None

    @model_validator(mode="after")
    def _one_scale(self) -> "ImportOptions":
        if self.alpha is not None and self.scale is not None:
            raise ValueError("alpha and scale say the same thing: send one of them")
        if self.strength == 0:
            raise ValueError("a strength of 0 would leave nothing of the file")
        return self


_Short = Annotated[str, StringConstraints(max_length=200)]


class PastVersion(Value):
    """One version of the chain that an exported file holds."""

    version: int
    strategy: _Short
    concept: _Short | None
    adapter_sha256: _Short | None


class Origin(Value):
    """Where a file that we exported comes from; kept when it is imported again."""

    model_config = ConfigDict(extra="ignore")

    lineage_id: _Short
    version: int
    base_model: _Short
    base_fingerprint: _Short | None = None
    history: tuple[PastVersion, ...] = Field((), max_length=1000)
