"""Initial A's that take account of earlier ones, and the bases that they are made from.

A is r x d_in; a basis Q is d_in x k with orthonormal columns, in fp64, so that what is projected out is gone when the
result is rounded to A's own precision.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RowBasis:
    """An orthonormal basis `q` of a matrix's most energetic rows' directions, of which `rank` have any energy."""

    q: Tensor
    rank: int

    @property
    def is_cut(self) -> bool:
        """Whether directions had to be left out for want of room."""
        return self.q.shape[1] < self.rank


def row_basis(matrix: Tensor, room: int) -> RowBasis:
    """The top right singular vectors of `matrix` (.. x d_in), as many as have weight, but `room` at most.

    The matrix comes from sums and products in its own precision; singular values within their rounding have no weight.
    """
    _, values, vectors = torch.linalg.svd(matrix.double(), full_matrices=False)
    rounding = max(matrix.shape) * torch.finfo(matrix.dtype).eps * values[0]
    rank = int((values > rounding).sum())
    return RowBasis(vectors[: min(rank, max(room, 0))].T, rank)


def projected_out(a: Tensor, q: Tensor) -> Tensor:
    """`A (I - Q Q^T)` at A's own norm."""
    drawn = a.double()
    rest = drawn - (drawn @ q) @ q.T
    return at_norm_of(drawn, rest).to(a.dtype)


def at_norm_of(model: Tensor, a: Tensor) -> Tensor:
    """`a`, scaled to the Frobenius norm of `model`."""
    return a * (float(model.norm()) / float(a.norm()))


def covered_energy(update: Mapping[str, Tensor], bases: Mapping[str, RowBasis]) -> dict[str, float]:
    """Which share of `|D|_F^2` lies in the span of Q: of all projections that have a basis together, and the least."""
    total = {name: float(update[name].double().square().sum()) for name in bases}
    inside = {name: float((update[name].double() @ bases[name].q).square().sum()) for name in bases}
    shares = [inside[name] / total[name] for name in bases if total[name] > 0]
    if not shares:
        return {}
    return {"energy_covered": sum(inside.values()) / sum(total.values()), "least_energy_covered": min(shares)}


def reference_rows(earlier: Tensor) -> Tensor:
    """A as the paper's released code starts it: column j completes column j of `earlier` (r x d_in) to a basis of R^r.

    Column j is the last right singular vector of the 1 x r matrix that column j of `earlier` makes. That is orthogonal
    to it among the r numbers of one input, which says nothing about the row spaces: those overlap as random ones do.
    """
    _, _, vectors = torch.linalg.svd(earlier.T.unsqueeze(1), full_matrices=True)
    last: Tensor = vectors[:, -1, :]
    return last.T.contiguous()
