"""What the harness and one worker slot share, in a file that outlives a kill -9: faults one way, counts the other."""

import mmap
import struct
from pathlib import Path

_LAYOUT = struct.Struct("=dQQ")


class Control:
    """`clock_seconds`: by how much the worker's wall clock is off. `disk_full`: whether its cache cannot be written.

    `steps`: how many optimizer steps the workers of this slot have done, whatever became of them.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_LAYOUT.size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _LAYOUT.size)

    @property
    def clock_seconds(self) -> float:
        """By how much the worker's wall clock is ahead."""
        return float(_LAYOUT.unpack(self._memory[:])[0])

    @clock_seconds.setter
    def clock_seconds(self, value: float) -> None:
        struct.pack_into("=d", self._memory, 0, value)

    @property
    def disk_full(self) -> bool:
        """Whether the disk of the update cache is full."""
        return bool(_LAYOUT.unpack(self._memory[:])[1])

    @disk_full.setter
    def disk_full(self, value: bool) -> None:
        struct.pack_into("=Q", self._memory, 8, int(value))

    @property
    def steps(self) -> int:
        """The optimizer steps done in this slot."""
        return int(_LAYOUT.unpack(self._memory[:])[2])

    def count_step(self) -> None:
        """One more."""
        struct.pack_into("=Q", self._memory, 16, self.steps + 1)
