"""The header of a safetensors file, proved before anything that it announces is allocated.

The format: 8 bytes of length, that many bytes of JSON, then the tensors' bytes, back to back. Nothing in it is code,
but a header may lie: about its own length, about offsets that overlap or leave the file, about shapes that would not
fit what is there.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from pydantic import Field, TypeAdapter, ValidationError

from app.adapter_files.fault_kinds import Faults
from app.domain.base import Value
from app.domain.errors import Fault, InvalidAdapterError

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 8 * 1024 * 1024
MAX_TENSORS = 20_000
MAX_NAME_LENGTH = 512

FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
# Some tools write alphas so.
_INTEGERS = {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_BYTES_OF = FLOATS | _INTEGERS


class TensorEntry(Value):
    """What the header says of one tensor; offsets count from the end of the header."""

    dtype: str
    shape: tuple[int, ...] = Field(max_length=8)
    data_offsets: tuple[int, int]

    def fault(self) -> str | None:
        """Why the tensor cannot be read, if so."""
        if self.dtype not in _BYTES_OF:
            return f"its dtype is {self.dtype}; understood are {', '.join(_BYTES_OF)}"
        begin, end = self.data_offsets
        if any(size < 0 for size in self.shape) or math.prod(self.shape) * _BYTES_OF[self.dtype] != end - begin:
            return f"{end - begin} bytes cannot hold the shape {list(self.shape)} in {self.dtype}"
        return None


@dataclass(frozen=True)
class SafetensorsHeader:
    """A proved header."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]


_ENTRIES = TypeAdapter(dict[str, TensorEntry])
_METADATA = TypeAdapter(dict[str, str])


def read_header(file: BinaryIO, size_bytes: int) -> SafetensorsHeader:
    """The header of a file of that size, read from its start.

    Raises:
        InvalidAdapterError: it is no safetensors file, or its header does not describe it.
    """
    length = _length(file, size_bytes)
    entries = _parse(file.read(length))
    try:
        metadata = _METADATA.validate_python(entries.pop("__metadata__", {}), strict=True)
        tensors = _ENTRIES.validate_python(entries)
    except ValidationError as error:
        raise _refusal("its header is not that of a safetensors file") from error
    _insist_on_no_gaps(tensors, size_bytes - LENGTH_BYTES - length)
    faults = Faults("The file holds tensors that cannot be read.")
    for name, entry in tensors.items():
        if fault := entry.fault():
            faults.add("tensor", name, fault)
    faults.insist_on_none()
    return SafetensorsHeader(tensors, metadata)


def _length(file: BinaryIO, size_bytes: int) -> int:
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if not 2 <= length <= size_bytes - LENGTH_BYTES:
        raise _refusal("it is no safetensors file")
    if length > MAX_HEADER_BYTES:
        raise _refusal(f"its header is larger than {MAX_HEADER_BYTES:,} bytes")
    return length


def _parse(text: bytes) -> dict[str, object]:
    try:
        entries = json.loads(text, object_pairs_hook=_distinct)
    # Nesting too deep for the parser is a RecursionError.
    except (ValueError, RecursionError) as error:
        raise _refusal("it is no safetensors file") from error
    if not isinstance(entries, dict):
        raise _refusal("it is no safetensors file")
    if len(entries) > MAX_TENSORS:
        raise _refusal(f"it holds more than {MAX_TENSORS:,} tensors")
    # Problems name them, and neither Postgres nor UTF-8 takes every string of JSON.
    if any(len(name) > MAX_NAME_LENGTH or not name.isprintable() for name in entries):
        raise _refusal(f"a name in it is not printable, or longer than {MAX_NAME_LENGTH} letters")
    return entries


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is used twice")
    return found


def _insist_on_no_gaps(tensors: Mapping[str, TensorEntry], data_bytes: int) -> None:
    """Tensors lie back to back and fill the file: none overlaps another or leaves the file, nothing hides between."""
    position = 0
    for begin, end in sorted(entry.data_offsets for entry in tensors.values()):
        if begin != position or end < begin:
            raise _refusal("its tensors overlap, or leave gaps")
        position = end
    if position != data_bytes:
        raise _refusal(f"its header describes {position:,} bytes of tensors, and it has {data_bytes:,}")


def _refusal(reason: str) -> InvalidAdapterError:
    return InvalidAdapterError(f"The file cannot be imported: {reason}.", (Fault(field="file", message=reason),))
