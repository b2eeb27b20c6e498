"""LoRA files of other tools: which tensors belong together, told from the header alone.

Two families of names. diffusers: `unet.<path>.lora_A.weight` and `.lora_B.weight` (peft), before that
`.lora.down.weight` and `.lora.up.weight`, and before that `<attention>.processor.to_q_lora.down.weight`. kohya:
`lora_unet_<path with underscores>.lora_down.weight`, `.lora_up.weight` and `.alpha`. The update of a module is
`alpha / r * up @ down`; without an alpha it is `up @ down`.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.adapter_files.header import SafetensorsHeader, TensorEntry
from app.domain.adapters import AdapterFormat
from app.domain.errors import Fault, InvalidAdapterError

MAX_FAULTS = 1000


class Part(StrEnum):
    """What a tensor is to its module."""

    DOWN = "down"
    UP = "up"
    ALPHA = "alpha"


_ENDINGS = {
    ".lora_A.weight": Part.DOWN,
    ".lora_B.weight": Part.UP,
    ".lora_A.default.weight": Part.DOWN,
    ".lora_B.default.weight": Part.UP,
    ".lora.down.weight": Part.DOWN,
    ".lora.up.weight": Part.UP,
    ".lora_down.weight": Part.DOWN,
    ".lora_up.weight": Part.UP,
    "_lora.down.weight": Part.DOWN,
    "_lora.up.weight": Part.UP,
    ".alpha": Part.ALPHA,
}
_DIFFUSERS_PREFIXES = ("unet.", "transformer.", "base_model.model.")
_KOHYA_PREFIX = "lora_unet_"
_TEXT_ENCODER_PREFIXES = ("text_encoder.", "text_encoder_2.", "lora_te_", "lora_te1_", "lora_te2_")
_OTHER_METHODS = {
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "lora_mid": "a LoRA of three factors",
}


@dataclass(frozen=True)
class LoraModule:
    """The tensors of one module by their names in the file, and the scale `s` where the header tells it.

    `name` is the module's path in diffusers' format, and the path with underscores in kohya's.
    """

    name: str
    down: str
    up: str
    alpha: str | None
    rank: int
    header_alpha: float | None


@dataclass(frozen=True)
class LoraFile:
    """What a file holds for the denoiser, and how many tensors of text encoders were left out."""

    format: AdapterFormat
    modules: tuple[LoraModule, ...]
    text_encoder_tensors: int


def read_lora(header: SafetensorsHeader, *, ignore_text_encoder: bool) -> LoraFile:
    """The modules that a file's header names.

    Raises:
        InvalidAdapterError: the file is no LoRA of these formats; the faults name every tensor that is in the way.
    """
    reading = _Reading(header)
    texts = [name for name in header.tensors if name.startswith(_TEXT_ENCODER_PREFIXES)]
    if texts and not ignore_text_encoder:
        message = (
            f"{len(texts)} tensors adapt it; only the denoiser is adapted here: ignore_text_encoder leaves them out"
        )
        reading.faults.append(Fault(field="text_encoder", message=message))
    for name in header.tensors.keys() - set(texts):
        reading.sort_in(name)
    modules = tuple(reading.modules())
    if not modules and not reading.faults:
        reading.faults.append(Fault(field="file", message="it holds no factors of a LoRA for a denoiser"))
    if len(reading.formats) > 1:
        reading.faults.append(Fault(field="file", message="its names are of two formats, diffusers' and kohya's"))
    refuse(reading.faults)
    return LoraFile(reading.formats.pop(), modules, len(texts))


def refuse(faults: list[Fault]) -> None:
    """Raise if there are faults, naming them in the order of their fields.

    Raises:
        InvalidAdapterError: there are.
    """
    if not faults:
        return
    listed = sorted(faults, key=lambda fault: fault.field)
    if more := len(listed) - MAX_FAULTS:
        listed = listed[:MAX_FAULTS] + ([Fault(field="file", message=f"and {more} more")] if more > 0 else [])
    raise InvalidAdapterError(f"The adapter does not fit, in {len(faults)} places.", tuple(listed))


class _Reading:
    """One reading of a header."""

    def __init__(self, header: SafetensorsHeader) -> None:
        self._header = header
        self._alphas = _HeaderAlphas.of(header.metadata)
        self._parts: dict[str, dict[Part, str]] = {}
        self.formats: set[AdapterFormat] = set()
        self.faults: list[Fault] = list(self._alphas.faults)

    def sort_in(self, name: str) -> None:
        """Put a tensor to its module."""
        ending = next((ending for ending in _ENDINGS if name.endswith(ending)), None)
        if ending is None:
            method = next((method for sign, method in _OTHER_METHODS.items() if sign in name), None)
            is_other = "no factor of a LoRA" if method is None else f"it belongs to {method}, which is not understood"
            self.faults.append(Fault(field=name, message=is_other))
            return
        kind, module = _module(name.removesuffix(ending))
        self.formats.add(kind)
        parts = self._parts.setdefault(module, {})
        if _ENDINGS[ending] in parts:
            self.faults.append(Fault(field=name, message=f"the same factor as {parts[_ENDINGS[ending]]}"))
        parts[_ENDINGS[ending]] = name

    def modules(self) -> Iterator[LoraModule]:
        """The modules whose factors go together, in sorted order."""
        for module, parts in sorted(self._parts.items()):
            missing = [part.value for part in (Part.DOWN, Part.UP) if part not in parts]
            if missing:
                self.faults.append(Fault(field=module, message=f"it has no {' and no '.join(missing)} factor"))
                continue
            down, up = (self._header.tensors[parts[part]] for part in (Part.DOWN, Part.UP))
            alpha = parts.get(Part.ALPHA)
            if fault := _mismatch(down, up) or self._alpha_fault(alpha):
                self.faults.append(Fault(field=module, message=fault))
                continue
            rank = down.shape[0]
            told = None if alpha is not None else self._alphas.of_module(module)
            yield LoraModule(module, parts[Part.DOWN], parts[Part.UP], alpha, rank, told)

    def _alpha_fault(self, alpha: str | None) -> str | None:
        if alpha is not None and math.prod(self._header.tensors[alpha].shape) != 1:
            return "its alpha is not one number"
        return None


def _module(stem: str) -> tuple[AdapterFormat, str]:
    if stem.startswith(_KOHYA_PREFIX):
        return AdapterFormat.KOHYA, stem.removeprefix(_KOHYA_PREFIX)
    for prefix in _DIFFUSERS_PREFIXES:
        stem = stem.removeprefix(prefix)
    if ".processor." in stem:
        stem = stem.replace(".processor.", ".")
        stem = f"{stem}.0" if stem.endswith(".to_out") else stem
    return AdapterFormat.DIFFUSERS, stem


def _mismatch(down: TensorEntry, up: TensorEntry) -> str | None:
    """Why two factors have no product, if so: r x in and out x r, or kernels r x in x h x w and out x r x 1 x 1."""
    fits = len(down.shape) == len(up.shape) and len(down.shape) in (2, 4) and down.shape[0] == up.shape[1]
    if fits and all(size == 1 for size in up.shape[2:]):
        return None
    return f"factors of shapes {list(down.shape)} and {list(up.shape)} have no product"


@dataclass(frozen=True)
class _HeaderAlphas:
    """The alphas that newer files of diffusers tell in their header, as peft's configuration."""

    default: float | None
    # Each with its place: of several that a module ends with, peft takes the first.
    by_ending: Mapping[str, tuple[int, float]]
    faults: tuple[Fault, ...] = ()

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> "_HeaderAlphas":
        try:
            config = json.loads(metadata.get("lora_adapter_metadata", "{}"))
            own = {key.partition(".")[2]: value for key, value in config.items() if key.startswith(_DIFFUSERS_PREFIXES)}
            default = own.get("lora_alpha")
            told = enumerate((own.get("alpha_pattern") or {}).items())
            patterns = {str(path): (place, float(alpha)) for place, (path, alpha) in told}
            alphas = cls(None if default is None else float(default), patterns)
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            return cls(None, {}, (Fault(field="lora_adapter_metadata", message="not a configuration of peft"),))
        used = [name for name in ("use_dora", "use_rslora") if own.get(name)]
        return cls(alphas.default, patterns, tuple(Fault(field=name, message="not understood") for name in used))

    def of_module(self, module: str) -> float | None:
        """Its own alpha, or that of all."""
        parts = module.split(".")
        # Looked up, not searched for: a header may tell many thousands for as many modules.
        endings = (".".join(parts[start:]) for start in range(len(parts)))
        found = [self.by_ending[ending] for ending in endings if ending in self.by_ending]
        return min(found)[1] if found else self.default
