"""One file that other tools load: the whole version, not its last task alone."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from safetensors.numpy import save

from app.adapter_files.folding import A, Array, ArrayFactors, B, Folded, Link, fold
from app.domain.adapters import AdapterFormat


@dataclass(frozen=True)
class Export:
    """How an adapter is to be written: whose names, which component it adapts, and of which rank at most.

    Without `max_rank` it is the version's update exactly.
    """

    kind: AdapterFormat = AdapterFormat.DIFFUSERS
    denoiser: str = "unet"
    max_rank: int | None = None


def export_adapter(chain: Sequence[Link], export: Export, about: Mapping[str, str]) -> bytes:
    """The safetensors file of the chain's last version. The same chain gives the same bytes.

    Raises:
        InvalidInputError: the chain's update is no product of factors, and there is no `max_rank`.
        StorageError: an adapter is not of the format that workers write.
    """
    folded = fold(chain, export.max_rank)
    if export.kind is AdapterFormat.DIFFUSERS:
        tensors = _diffusers(folded.modules, export.denoiser)
    else:
        tensors = _kohya(folded.modules)
    texts = {**about, **_what_is_kept(folded, export.max_rank)}
    # One entry only: safetensors writes several in a random order.
    return save(tensors, metadata={"palimpsest": json.dumps(texts, sort_keys=True)})


def _what_is_kept(folded: Folded, max_rank: int | None) -> dict[str, str]:
    """Of an export of lowered rank: `energy_captured`, a share of `|D|_F^2`; `relative_error`, `|D - BA|_F / |D|_F`."""
    if max_rank is None:
        return {}
    captured = folded.kept_energy / folded.energy if folded.energy > 0 else 1.0
    error = math.sqrt(max(1 - captured, 0))
    return {"max_rank": str(max_rank), "energy_captured": f"{captured:.6f}", "relative_error": f"{error:.6f}"}


def _diffusers(modules: Mapping[str, ArrayFactors], denoiser: str) -> dict[str, Array]:
    """Without an alpha, diffusers takes each module's rank for it: scale 1."""
    tensors: dict[str, Array] = {}
    for name, factors in modules.items():
        tensors[f"{denoiser}.{name}{A}"] = np.ascontiguousarray(factors.a)
        tensors[f"{denoiser}.{name}{B}"] = np.ascontiguousarray(factors.b)
    return tensors


def _kohya(modules: Mapping[str, ArrayFactors]) -> dict[str, Array]:
    """Kohya's scripts say `lora_unet_` of every denoiser, transformers included.

    All modules get one rank, with zeros where a module needs less: diffusers takes one module's alpha for that of all.
    """
    rank = max((len(factors.a) for factors in modules.values()), default=0)
    tensors: dict[str, Array] = {}
    for name, factors in modules.items():
        prefix = "lora_unet_" + name.replace(".", "_")
        tensors[f"{prefix}.lora_down.weight"] = _padded(factors.a, 0, rank)
        tensors[f"{prefix}.lora_up.weight"] = _padded(factors.b, 1, rank)
        tensors[f"{prefix}.alpha"] = np.array(rank, dtype=np.float32)
    return tensors


def _padded(factor: Array, axis: int, rank: int) -> Array:
    missing = [(0, rank - size if n == axis else 0) for n, size in enumerate(factor.shape)]
    return np.ascontiguousarray(np.pad(factor, missing))
