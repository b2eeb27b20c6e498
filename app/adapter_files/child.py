"""An export in a process of its own: `python -m app.adapter_files.child`, its order on standard input.

What an export takes in memory and time depends on what somebody has imported. Here it has a limit of both, a low
priority, and ends with the process that asked for it.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from app.adapter_files.export import Export, export_adapter
from app.adapter_files.folding import Link
from app.domain.base import Value
from app.domain.errors import Fault, InvalidInputError, PalimpsestError, StorageError, TooLargeError
from app.domain.strategies import AnyStrategy

_PR_SET_PDEATHSIG = 1
_PRIORITY = 10


class OrderedLink(Value):
    """One version of the chain: how it was learned, and the file that its adapter lies in."""

    strategy: AnyStrategy
    path: Path


class Order(Value):
    """What to write where, and by what means; `parent` is the process that asks."""

    links: tuple[OrderedLink, ...]
    export: Export
    target: Path
    memory_bytes: int
    parent: int


class Outcome(Value):
    """What became of it; nothing but `None`s where the file is written."""

    error: str | None = None
    detail: str = ""
    faults: tuple[Fault, ...] = ()

    def insist_on_success(self) -> None:
        """Raise what went wrong, if anything did.

        Raises:
            InvalidInputError: the version's update is no product of factors, and no rank was asked for.
            StorageError: an adapter is not of the format that workers write.
            TooLargeError: it takes more memory than there may be.
        """
        if self.error is not None:
            raise _ERRORS[self.error](self.detail, self.faults)


_ERRORS: dict[str, type[PalimpsestError]] = {
    error.slug: error for error in (InvalidInputError, StorageError, TooLargeError)
}


def carry_out(order: Order) -> Outcome:
    """Fold and write."""
    try:
        links = [Link(link.strategy, link.path.read_bytes()) for link in order.links]
        order.target.write_bytes(export_adapter(links, order.export))
    except (InvalidInputError, StorageError) as error:
        return Outcome(error=error.slug, detail=error.detail, faults=error.faults)
    except MemoryError:
        return too_large(f"it takes more than {order.memory_bytes // 2**20:,} MiB of memory")
    return Outcome()


def too_large(why: str) -> Outcome:
    """What becomes of an export that takes too much."""
    return Outcome(error=TooLargeError.slug, detail=f"This version cannot be exported here: {why}.")


def main() -> None:
    """Carry out the order."""
    order = Order.model_validate_json(sys.stdin.buffer.read())
    _end_with(order.parent)
    os.nice(_PRIORITY)
    resource.setrlimit(resource.RLIMIT_AS, (order.memory_bytes, order.memory_bytes))
    sys.stdout.write(carry_out(order).model_dump_json())


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    main()
