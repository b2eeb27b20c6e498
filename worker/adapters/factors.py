"""LoRA factors (arXiv 2106.09685) and the file that holds them.

The file is safetensors with `unet.<module path>.lora_A.weight` (r x d_in) and `.lora_B.weight` (d_out x r) in fp32, as
trained: the scale `s` stands beside them in the metadata, not folded in.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.adapters.tensor_file import TensorFileError, pack, unpack

FORMAT = "palimpsest-adapter-1"
_KEY = re.compile(r"unet\.(?P<module>.+)\.lora_(?P<factor>[AB])\.weight")


class AdapterFormatError(TensorFileError):
    """The bytes are not an adapter of this format."""


@dataclass(frozen=True)
class Factors:
    """One projection's factors: `a` is r x d_in, `b` is d_out x r.

    Those of a convolution are flattened like all others, and remember its `kernel` (height, width). Adapter files keep
    the four dimensions that other tools want: A is r x in x height x width, B is d_out x r x 1 x 1.
    """

    a: Tensor
    b: Tensor
    kernel: tuple[int, int] | None = None

    @classmethod
    def of(cls, a: Tensor, b: Tensor) -> "Factors":
        """Factors in the dimensions of their layer.

        Raises:
            AdapterFormatError: they are not of one layer.
        """
        if a.ndim == 2:
            return cls(a, b)
        if a.ndim != 4 or b.shape[2:] != (1, 1):
            raise AdapterFormatError(f"factors of shapes {tuple(a.shape)} and {tuple(b.shape)} have no product B A")
        return cls(a.flatten(1), b.flatten(1), (int(a.shape[2]), int(a.shape[3])))

    def unflattened(self) -> tuple[Tensor, Tensor]:
        """A and B in the dimensions of their layer."""
        if self.kernel is None:
            return self.a, self.b
        return self.a.unflatten(1, (-1, *self.kernel)), self.b[:, :, None, None]

    def __post_init__(self) -> None:
        if self.a.ndim != 2 or self.b.ndim != 2 or self.a.shape[0] != self.b.shape[1]:
            shapes = f"{tuple(self.a.shape)} and {tuple(self.b.shape)}"
            raise AdapterFormatError(f"factors of shapes {shapes} have no product B A")


@dataclass(frozen=True)
class Adapter:
    """What one task has learned: the factors of each adapted projection, by module path, and their scale s."""

    scale: float
    modules: dict[str, Factors]

    def delta(self, name: str) -> Tensor:
        """`s B A` of one projection, d_out x d_in, computed in the factors' precision (fp32)."""
        factors = self.modules[name]
        return self.scale * (factors.b @ factors.a)

    def is_finite(self) -> bool:
        """Whether no element of any factor is infinite or not a number."""
        return all(bool(torch.isfinite(part).all()) for f in self.modules.values() for part in (f.a, f.b))


def to_bytes(adapter: Adapter, metadata: Mapping[str, str]) -> bytes:
    """The adapter's file: the same bytes for the same adapter and metadata.

    Raises:
        ValueError: the metadata uses a name that this format uses itself.
    """
    own = {"format": FORMAT, "scale": repr(adapter.scale)}
    if taken := own.keys() & metadata.keys():
        raise ValueError(f"the adapter's metadata may not set {', '.join(sorted(taken))}")
    tensors = {}
    for name, factors in adapter.modules.items():
        a, b = factors.unflattened()
        tensors[f"unet.{name}.lora_A.weight"] = a.to(torch.float32)
        tensors[f"unet.{name}.lora_B.weight"] = b.to(torch.float32)
    return pack(tensors, {**metadata, **own})


def from_bytes(data: bytes) -> Adapter:
    """The adapter in a file that `to_bytes` wrote, modules in sorted order.

    Raises:
        AdapterFormatError: anything else: another format, a factor without its pair, shapes that do not multiply.
    """
    try:
        tensors, metadata = unpack(data)
    except TensorFileError as error:
        raise AdapterFormatError(str(error)) from error
    if metadata.get("format") != FORMAT:
        raise AdapterFormatError(f"not of the format {FORMAT}")
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None or tensor.dtype != torch.float32:
            raise AdapterFormatError(f"{key} is not a factor in fp32")
        halves.setdefault(match["module"], {})[match["factor"]] = tensor
    return Adapter(_scale(metadata), {name: _pair(name, halves[name]) for name in sorted(halves)})


def _scale(metadata: Mapping[str, str]) -> float:
    try:
        scale = float(metadata["scale"])
    except (KeyError, ValueError):
        scale = math.nan
    if not (math.isfinite(scale) and scale > 0):
        raise AdapterFormatError(f"the scale {metadata.get('scale')!r} is not a positive number")
    return scale


def _pair(name: str, halves: Mapping[str, Tensor]) -> Factors:
    if missing := {"A", "B"} - halves.keys():
        raise AdapterFormatError(f"{name} has no lora_{missing.pop()}")
    return Factors.of(halves["A"], halves["B"])
