"""Where a worker computes, in which precision, and with how many threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from app.domain.errors import NotReadyError


def pick_device(setting: str) -> torch.device:
    """The device that a setting (`auto`, `cpu`, `cuda` or `cuda:N`) means on this machine.

    Raises:
        NotReadyError: the setting is another, or this machine has no such device.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if setting == "auto":
        return torch.device("cuda", 0) if count else torch.device("cpu")
    if setting == "cpu":
        return torch.device("cpu")
    name, _, index = setting.partition(":")
    if name != "cuda" or (":" in setting and not index.isdecimal()):
        raise NotReadyError(f"The device {setting!r} is unknown; known are auto, cpu, cuda and cuda:N.")
    if int(index or 0) >= count:
        raise NotReadyError(f"The device {setting!r} was asked for, but this machine has {count} CUDA devices.")
    return torch.device("cuda", int(index or 0))


def pick_dtype(device: torch.device) -> torch.dtype:
    """The precision of a base's frozen weights: bf16 on a GPU that computes in it, else fp32.

    Never fp16: gradients through it need a loss scale, one more thing that a resumed training could differ by.
    Factors, optimizer state and losses are fp32 everywhere.
    """
    # From compute capability 8.0 on; before, bf16 is emulated and slower than fp32.
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16
    return torch.float32


def memory_bytes(device: torch.device) -> int:
    """All the memory of the device, in bytes; of a CPU the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def fix_threads(count: int) -> None:
    """Compute with `count` threads from now on, and without denormals: on both an adapter's bits depend on a CPU."""
    flush_denormals()
    torch.set_num_threads(count)


def flush_denormals() -> None:
    """Take numbers below 1e-38 for zero from now on: some processors compute with them a hundred times as slowly.

    The tails of activations make many of them in training. Threads inherit this from the one that starts them, so it
    comes before the first parallel operation of a process.
    """
    torch.set_flush_denormal(True)


@contextmanager
def with_threads(count: int) -> Iterator[None]:
    """Within it, compute with `count` threads."""
    before = torch.get_num_threads()
    fix_threads(count)
    try:
        yield
    finally:
        fix_threads(before)
