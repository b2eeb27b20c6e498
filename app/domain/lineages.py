"""Lineages: chains of immutable versions, and what a version remembers about how it was made."""

from enum import StrEnum

from app.domain.base import Value
from app.domain.strategies import AnyStrategy
from app.domain.training import TrainingOptions


class VersionStatus(StrEnum):
    """`live`: reachable and usable. `held`: published beside the head, because the head had moved meanwhile."""

    LIVE = "live"
    HELD = "held"


class Provenance(Value):
    """Everything that a version's adapter is a function of, and the machine that computed it."""

    base_model: str
    base_fingerprint: str
    parent_adapter_sha256: str | None
    image_sha256s: tuple[str, ...]
    instance_prompt: str
    strategy: AnyStrategy
    training: TrainingOptions
    adapter_sha256: str
    final_loss: float
    code_version: str
    libraries: dict[str, str]
    device: str
    torch_threads: int
    training_seconds: float
