"""How much a matrix's elements matter, as the means of its rows and columns; many of these as named tensors."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

_ROW, _COLUMN = ".row", ".column"


@dataclass(frozen=True)
class Importance:
    """The means of each row (d_out) and of each column (d_in) of a matrix of weights >= 0, in fp32 on the CPU."""

    row: Tensor
    column: Tensor

    @classmethod
    def of(cls, matrix: Tensor) -> "Importance":
        """That of a d_out x d_in matrix."""
        return cls(matrix.mean(dim=1).cpu(), matrix.mean(dim=0).cpu())

    @property
    def mean(self) -> float:
        """Over all elements."""
        return float(self.row.double().mean())

    def plus(self, other: "Importance") -> "Importance":
        """That of the two matrices' sum."""
        return Importance(self.row + other.row, self.column + other.column)

    def times(self, factor: float) -> "Importance":
        """That of the scaled matrix."""
        return Importance(factor * self.row, factor * self.column)


def added(earlier: Mapping[str, Importance], gamma: float, new: Mapping[str, Importance]) -> dict[str, Importance]:
    """`gamma earlier + new` for each module that either has."""
    faded = {name: importance.times(gamma) for name, importance in earlier.items()}
    grown = {name: faded[name].plus(own) if name in faded else own for name, own in new.items()}
    return faded | grown


def packed(importance: Mapping[str, Importance]) -> dict[str, Tensor]:
    """As named tensors."""
    rows = {name + _ROW: part.row for name, part in importance.items()}
    return rows | {name + _COLUMN: part.column for name, part in importance.items()}


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Importance]:
    """What `packed` made tensors of."""
    names = [name.removesuffix(_ROW) for name in tensors if name.endswith(_ROW)]
    return {name: Importance(tensors[name + _ROW], tensors[name + _COLUMN]) for name in names}
