"""Named tensors and texts as safetensors bytes, a pure function of what they hold; nothing is ever unpickled."""

import json
from collections.abc import Mapping
from typing import BinaryIO

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 64 * 1024 * 1024


class TensorFileError(ValueError):
    """The bytes are not what they should be."""


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Safetensors bytes; contiguous copies on the CPU are taken where needed."""
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, dict(metadata))
    # The library writes the metadata in the order of a hash map with a random seed.
    header, start = _header(data)
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text + data[start:]


def unpack(data: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, on the CPU, and the metadata.

    Raises:
        TensorFileError: the bytes are not safetensors.
    """
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise TensorFileError(f"not a safetensors file: {error}") from error
    metadata = _header(data)[0].get("__metadata__", {})
    return tensors, {str(name): str(value) for name, value in metadata.items()}


def read_texts(file: BinaryIO) -> dict[str, str]:
    """The metadata alone, of safetensors bytes that begin where `file` stands; they may be cut off after the header.

    Raises:
        TensorFileError: there is no whole header.
    """
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if length > _MAX_HEADER_BYTES:
        raise TensorFileError("not a safetensors file: its header is too long")
    try:
        metadata = json.loads(file.read(length)).get("__metadata__", {})
    except (ValueError, AttributeError) as error:
        raise TensorFileError(f"not a safetensors file: {error}") from error
    return {str(name): str(value) for name, value in metadata.items()}


def _header(data: bytes) -> tuple[dict[str, dict[str, object]], int]:
    """The parsed header of valid safetensors bytes, and where the tensors' data starts."""
    start = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    header: dict[str, dict[str, object]] = json.loads(data[_LENGTH_BYTES:start])
    return header, start
