"""A safetensors file, byte for byte a function of what is in it, in fp32, fp16 or bf16; numpy has no bf16 itself."""

import json
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from app.domain.adapters import Precision
from app.domain.errors import Fault, InvalidInputError

Array = NDArray[np.float32]

_DTYPES = {Precision.FP32: "F32", Precision.FP16: "F16", Precision.BF16: "BF16"}
_LENGTH_BYTES = 8


def to_file(tensors: Mapping[str, Array], precision: Precision, metadata: Mapping[str, str]) -> bytes:
    """The file. Single numbers stay in fp32: they are alphas, which bf16 would round from 257 on.

    Raises:
        InvalidInputError: a value is too large for the precision.
    """
    # Tools that map a file into memory want the larger numbers first.
    ordered = sorted(tensors.items(), key=lambda item: (item[1].ndim > 0, item[0]))
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    chunks, start = [], 0
    for name, array in ordered:
        own = precision if array.ndim else Precision.FP32
        data = b"".join(_encoded(name, array, own))
        offsets = [start, start + len(data)]
        header[name] = {"dtype": _DTYPES[own], "shape": list(array.shape), "data_offsets": offsets}
        chunks.append(data)
        start += len(data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    return b"".join([len(text).to_bytes(_LENGTH_BYTES, "little"), text, *chunks])


def _encoded(name: str, array: Array, precision: Precision) -> Iterator[bytes]:
    if precision is Precision.FP32:
        yield array.astype("<f4").tobytes()
        return
    with np.errstate(over="ignore"):
        rounded = array.astype("<f2") if precision is Precision.FP16 else _to_bf16(array)
    if precision is Precision.FP16 and not np.isfinite(rounded).all():
        fault = Fault(field="precision", message=f"a value of {name} does not fit; bf16 and fp32 hold it")
        raise InvalidInputError("The version cannot be written in fp16.", (fault,))
    yield rounded.tobytes()


def _to_bf16(array: Array) -> NDArray[np.uint16]:
    """The upper half of each number, to the nearest, ties to even. Values are finite, and far from the largest."""
    bits = np.ascontiguousarray(array, dtype="<f4").view(np.uint32)
    rounding = ((bits >> 16) & 1) + np.uint32(0x7FFF)
    return ((bits + rounding) >> 16).astype("<u2")
