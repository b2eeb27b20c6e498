"""From a chain of stored adapters to one file that other tools load: the whole version, not its last task alone.

Each stored adapter has the factors A (r x d_in) and B (d_out x r) of the modules it adapts, and a scale s beside them.
A sum of updates is one product of concatenated factors, exactly: `s1 B1 A1 + s2 B2 A2 = [s1 B1, s2 B2] [A1; A2]`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from app.domain.errors import ConflictError, StorageError
from app.domain.strategies import Fold, StrategyOptions

Array = NDArray[np.float32]

_PREFIX = "unet."
_A, _B = ".lora_A.weight", ".lora_B.weight"
_LENGTH_BYTES = 8


class AdapterFormat(StrEnum):
    """`diffusers`: peft's names, for `pipe.load_lora_weights`. `kohya`: the names of kohya's scripts and of UIs."""

    DIFFUSERS = "diffusers"
    KOHYA = "kohya"


@dataclass(frozen=True)
class Link:
    """One version of a chain: how it was learned, and its adapter's bytes."""

    strategy: StrategyOptions
    data: bytes


@dataclass(frozen=True)
class Factors:
    """The factors of one module, with the scale folded into `b`."""

    a: Array
    b: Array


def export_adapter(chain: Sequence[Link], kind: AdapterFormat, about: Mapping[str, str]) -> bytes:
    """The safetensors file of the chain's last version. The same chain gives the same bytes.

    Raises:
        ConflictError: the chain's update is no product of factors.
        StorageError: an adapter is not of the format that workers write.
    """
    folded = _concatenate([_read(link.data) for link in surviving(chain)])
    tensors = _diffusers(folded) if kind is AdapterFormat.DIFFUSERS else _kohya(folded)
    # One entry only: safetensors writes several in a random order.
    return save(tensors, metadata={"palimpsest": json.dumps(dict(about), sort_keys=True)})


def surviving(chain: Sequence[Link]) -> list[Link]:
    """The links whose updates add up to D: within a run of a replacing strategy, only the last one.

    Raises:
        ConflictError: they do not add up, since a link selects element by element between its update and earlier ones.
    """
    kept: list[Link] = []
    previous: StrategyOptions | None = None
    for link in chain:
        if link.strategy.fold is Fold.SELECT and kept:
            raise ConflictError(
                f"This version cannot be exported: strategy {link.strategy.name} selects weight by weight between its "
                "update and the earlier ones, which makes an update of full rank, and an adapter file holds a low one."
            )
        if link.strategy.fold is Fold.REPLACE and previous == link.strategy:
            kept.pop()
        kept.append(link)
        previous = link.strategy
    return kept


def _read(data: bytes) -> dict[str, Factors]:
    try:
        tensors, scale = load(data), float(_metadata(data)["scale"])
        modules = sorted(key.removeprefix(_PREFIX).removesuffix(_A) for key in tensors if key.endswith(_A))
        return {
            name: Factors(tensors[_PREFIX + name + _A], np.float32(scale) * tensors[_PREFIX + name + _B])
            for name in modules
        }
    except (KeyError, ValueError, SafetensorError) as error:
        raise StorageError("A stored adapter is not of the format that workers write.") from error


def _metadata(data: bytes) -> dict[str, str]:
    """The header's texts; safetensors reads them from files only, not from bytes."""
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    metadata: dict[str, str] = json.loads(data[_LENGTH_BYTES:end])["__metadata__"]
    return metadata


def _concatenate(adapters: Sequence[Mapping[str, Factors]]) -> dict[str, Factors]:
    """One pair of factors per module. A module that an adapter leaves alone gets nothing from it."""
    modules = sorted({name for adapter in adapters for name in adapter})
    parts = {name: [adapter[name] for adapter in adapters if name in adapter] for name in modules}
    return {
        name: Factors(np.concatenate([f.a for f in factors]), np.concatenate([f.b for f in factors], axis=1))
        for name, factors in parts.items()
    }


def _diffusers(folded: Mapping[str, Factors]) -> dict[str, Array]:
    """Without an alpha, diffusers takes each module's rank for it: scale 1."""
    tensors: dict[str, Array] = {}
    for name, factors in folded.items():
        tensors[_PREFIX + name + _A] = np.ascontiguousarray(factors.a)
        tensors[_PREFIX + name + _B] = np.ascontiguousarray(factors.b)
    return tensors


def _kohya(folded: Mapping[str, Factors]) -> dict[str, Array]:
    tensors: dict[str, Array] = {}
    for name, factors in folded.items():
        prefix = "lora_unet_" + name.replace(".", "_")
        tensors[f"{prefix}.lora_down.weight"] = np.ascontiguousarray(factors.a)
        tensors[f"{prefix}.lora_up.weight"] = np.ascontiguousarray(factors.b)
        tensors[f"{prefix}.alpha"] = np.array(factors.a.shape[0], dtype=np.float32)
    return tensors
