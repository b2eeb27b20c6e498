"""The file of what a strategy keeps for the next task beside the adapter: named tensors as safetensors."""

from collections.abc import Mapping

from torch import Tensor

from worker.adapters.tensor_file import TensorFileError, pack, unpack

FORMAT = "palimpsest-strategy-state-1"


class StrategyStateError(TensorFileError):
    """The bytes are not a strategy's state of this format."""


def state_to_bytes(state: Mapping[str, Tensor]) -> bytes:
    """The same bytes for the same tensors."""
    return pack(state, {"format": FORMAT})


def state_from_bytes(data: bytes) -> dict[str, Tensor]:
    """The tensors in a file that `state_to_bytes` wrote.

    Raises:
        StrategyStateError: the bytes are something else.
    """
    try:
        tensors, texts = unpack(data)
    except TensorFileError as error:
        raise StrategyStateError(str(error)) from error
    if texts.get("format") != FORMAT:
        raise StrategyStateError(f"not of the format {FORMAT}")
    return tensors
