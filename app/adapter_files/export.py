"""One file that other tools load: the whole version, not its last task alone."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from app.adapter_files.card import ENTRY, Card
from app.adapter_files.folding import A, Array, ArrayFactors, B, Folded, Link, fold
from app.adapter_files.metadata import about_tools
from app.adapter_files.stability import SDXL, stability_name
from app.adapter_files.writing import to_file
from app.domain.adapters import AdapterFormat, Origin, Precision
from app.domain.base_models import Family

_NOWHERE = Card(origin=Origin(lineage_id="", version=0, base_model=""))


@dataclass(frozen=True)
class Export:
    """How an adapter is to be written: whose names, for which family of bases, of which rank at most, how precisely.

    `denoiser` is the component that it adapts, with which the names of diffusers begin. Without `max_rank` it is the
    version's update exactly, up to the precision. `resolution` is the base's, in pixels.
    """

    kind: AdapterFormat = AdapterFormat.DIFFUSERS
    family: Family = Family.SD
    denoiser: str = "unet"
    max_rank: int | None = None
    precision: Precision = Precision.FP32
    card: Card = field(default=_NOWHERE)
    resolution: int | None = None


def export_adapter(chain: Sequence[Link], export: Export) -> bytes:
    """The safetensors file of the chain's last version. The same chain gives the same bytes.

    Raises:
        InvalidInputError: the chain's update is no product of factors, and there is no `max_rank`; or a value of it
            does not fit in the precision.
        StorageError: an adapter is not of the format that workers write.
    """
    folded = fold(chain, export.max_rank)
    modules = _of_one_rank(folded.modules)
    tensors = _diffusers(modules, export) if export.kind is AdapterFormat.DIFFUSERS else _kohya(modules, export)
    texts = {**export.card.model_dump(mode="json"), **_what_is_kept(folded, export.max_rank)}
    own = {ENTRY: json.dumps(texts, sort_keys=True)}
    about = about_tools(modules, export.kind, export.family, export.resolution, export.card)
    return to_file(tensors, export.precision, {**about, **own})


def _what_is_kept(folded: Folded, max_rank: int | None) -> dict[str, str]:
    """Of an export of lowered rank: `energy_captured`, a share of `|D|_F^2`; `relative_error`, `|D - BA|_F / |D|_F`."""
    if max_rank is None:
        return {}
    captured = folded.kept_energy / folded.energy if folded.energy > 0 else 1.0
    error = math.sqrt(max(1 - captured, 0))
    return {"max_rank": str(max_rank), "energy_captured": f"{captured:.6f}", "relative_error": f"{error:.6f}"}


def _of_one_rank(modules: Mapping[str, ArrayFactors]) -> dict[str, ArrayFactors]:
    """All modules at the largest rank, with zeros where one needs less: diffusers takes one module's scale for all."""
    rank = max((len(factors.a) for factors in modules.values()), default=0)
    return {name: ArrayFactors(_padded(f.a, 0, rank), _padded(f.b, 1, rank)) for name, f in modules.items()}


def _padded(factor: Array, axis: int, rank: int) -> Array:
    missing = [(0, rank - size if n == axis else 0) for n, size in enumerate(factor.shape)]
    return np.ascontiguousarray(np.pad(factor, missing))


def _diffusers(modules: Mapping[str, ArrayFactors], export: Export) -> dict[str, Array]:
    """Without an alpha, diffusers takes the rank for it: scale 1."""
    tensors: dict[str, Array] = {}
    for name, factors in modules.items():
        tensors[f"{export.denoiser}.{name}{A}"] = factors.a
        tensors[f"{export.denoiser}.{name}{B}"] = factors.b
    return tensors


def _kohya(modules: Mapping[str, ArrayFactors], export: Export) -> dict[str, Array]:
    """Kohya's scripts say `lora_unet_` of every denoiser, and name the layers of SDXL as Stability does."""
    tensors: dict[str, Array] = {}
    for name, factors in modules.items():
        other = stability_name(SDXL, name) if export.family is Family.SDXL else None
        prefix = "lora_unet_" + (other or name).replace(".", "_")
        tensors[f"{prefix}.lora_down.weight"] = factors.a
        tensors[f"{prefix}.lora_up.weight"] = factors.b
        tensors[f"{prefix}.alpha"] = np.array(len(factors.a), dtype=np.float32)
    return tensors
