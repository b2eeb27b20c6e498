"""What to do when a batch does not fit into the device's memory: the same batch, in smaller parts."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch

log = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass
class MicroBatches:
    """How many of a batch's images are computed at once: all, until they once did not fit.

    The gradient of a mean is the mean of the parts' gradients, so smaller parts change nothing but the last bits.
    """

    part_size: int
    is_split: bool = False

    def fit(self, compute: Callable[[int], Result]) -> Result:
        """What `compute` returns for the largest parts that fit, tried from today's size downwards.

        Raises:
            torch.OutOfMemoryError: not even one image at a time fits.
        """
        while True:
            try:
                return compute(self.part_size)
            except torch.OutOfMemoryError:
                if self.part_size == 1:
                    raise
            # Not within the handler: the error holds what was computed so far.
            self._halve()

    def _halve(self) -> None:
        self.part_size, self.is_split = (self.part_size + 1) // 2, True
        torch.cuda.empty_cache()
        log.warning("out of memory: going on with %d images at a time", self.part_size)

    def notes(self) -> Mapping[str, float]:
        """For the version's provenance: in parts, the last bits depend on their size."""
        return {"images_at_once": float(self.part_size)} if self.is_split else {}
