"""Lineages: chains of immutable versions, and what a version remembers about how it was made."""

from enum import StrEnum

from pydantic import Field

from app.domain.adapters import AdapterFormat, Method, Origin, UsedScale
from app.domain.base import Value
from app.domain.concepts import TaughtConcept
from app.domain.strategies import AnyStrategy
from app.domain.training import TrainingOptions


class VersionStatus(StrEnum):
    """What a version is to the lineage that owns it.

    `live`: it has been the head. `held`: published beside the head, because the head had moved meanwhile.
    """

    LIVE = "live"
    HELD = "held"


class Machine(Value):
    """The hardware and software that an adapter was computed with.

    `code_sha256` is that of the source files that a training runs, so it tells apart what a release's number does not.
    """

    device: str
    processor: str = ""
    torch_threads: int
    code_version: str
    code_sha256: str = ""
    python_version: str
    libraries: dict[str, str]


class Provenance(Value):
    """Everything that decides a version's adapter, and how it came about.

    `residual`: a concept was erased from beneath this version without training it again (mode refold). So its adapter
    was trained on top of another parent than it has now. `strategy_notes` are the strategy's figures about its own
    start or end; docs/strategies.md names them. `neutral_prompts` are those that the strategy could draw from the base.
    """

    base_model: str
    base_fingerprint: str
    parent_adapter_sha256: str | None
    image_sha256s: tuple[str, ...]
    instance_prompt: str
    neutral_prompts: tuple[str, ...] = ()
    strategy: AnyStrategy
    training: TrainingOptions
    adapter_sha256: str
    strategy_state_sha256: str | None = None
    final_loss: float
    strategy_notes: dict[str, float] = Field(default_factory=dict)
    attempts: int
    training_seconds: float
    machine: Machine
    residual: bool = False


class ImportProvenance(Value):
    """Where an imported version's adapter comes from: a file, whose scale is folded into the stored factors.

    `scales` are those that were used, each with what told it. `relative_error` is `|D - BA|_F / |D|_F` where
    `max_rank` cut the update. `concepts` are all that the version teaches; `origin` is what one of our own files says.
    """

    base_model: str
    base_fingerprint: str
    file_name: str
    file_sha256: str
    format: AdapterFormat
    ignored_text_encoder_tensors: int
    methods: tuple[Method, ...] = (Method.LORA,)
    scales: tuple[UsedScale, ...] = ()
    strength: float = 1.0
    max_rank: int | None = None
    relative_error: float = 0.0
    concepts: tuple[TaughtConcept, ...] = ()
    origin: Origin | None = None
    adapter_sha256: str
    machine: Machine


AnyProvenance = Provenance | ImportProvenance
