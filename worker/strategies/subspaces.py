"""Initial A's that take account of earlier ones, and the bases that they are made from.

A is r x d_in; a basis Q is d_in x k with orthonormal columns. Q is fp64, so that what is projected out stays out when
the result is rounded to A's own precision.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.adapters.accumulated import LineageState
from worker.adapters.factors import Adapter, Factors


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
    return _heaviest(values, vectors, max(matrix.shape) * torch.finfo(matrix.dtype).eps, room)


def row_basis_of_sum(adapters: Sequence[Adapter], name: str, room: int) -> RowBasis:
    """That of the sum of a module's `s B A`, without ever making the matrix: its rank is at most that of all adapters.

    With `[A_1; ..] = R_a^T Q_a^T` and `[s_1 B_1, ..] = Q_b R_b`, the sum is `Q_b (R_b R_a^T) Q_a^T`: its core is small.
    """
    a = torch.cat([adapter.modules[name].a for adapter in adapters])
    b = torch.cat([adapter.scale * adapter.modules[name].b.double() for adapter in adapters], dim=1)
    q_a, r_a = torch.linalg.qr(a.T.double())
    r_b = torch.linalg.qr(b, mode="r").R
    _, values, vectors = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
    return _heaviest(values, vectors @ q_a.T, max(a.shape[1], b.shape[0]) * torch.finfo(a.dtype).eps, room)


def _heaviest(values: Tensor, vectors: Tensor, rounding: float, room: int) -> RowBasis:
    rank = int((values > rounding * values[0]).sum())
    return RowBasis(vectors[: min(rank, max(room, 0))].T, rank)


def bases_of_learned(
    parent: LineageState, fresh: Mapping[str, Factors], tick: Callable[[], None]
) -> dict[str, RowBasis]:
    """Q of `D_{t-1}` for each module of `fresh` that has learned something; room is left for A's own r rows."""
    bases = {}
    for name in sorted(fresh.keys() & parent.update.keys()):
        terms, room = parent.terms[name], room_beside(fresh[name])
        bases[name] = row_basis(parent.update[name], room) if terms is None else row_basis_of_sum(terms, name, room)
        tick()
    return bases


def room_beside(factors: Factors) -> int:
    """How many directions can be kept free of A's r rows."""
    return factors.a.shape[1] - factors.a.shape[0]


def turned_away(fresh: Mapping[str, Factors], bases: Mapping[str, RowBasis]) -> dict[str, Factors]:
    """The drawn factors with each A orthogonal to its module's Q, if that has one."""
    return {
        name: replace(factors, a=projected_out(factors.a, bases[name].q)) if name in bases else factors
        for name, factors in fresh.items()
    }


def projected_out(a: Tensor, q: Tensor) -> Tensor:
    """`A (I - Q Q^T)` at A's own norm."""
    drawn = a.double()
    rest = drawn - (drawn @ q) @ q.T
    return at_norm_of(drawn, rest).to(a.dtype)


def at_norm_of(model: Tensor, a: Tensor) -> Tensor:
    """`a`, scaled to the Frobenius norm of `model`."""
    return a * (float(model.norm()) / float(a.norm()))


def covered_energy(
    update: Mapping[str, Tensor], bases: Mapping[str, RowBasis], tick: Callable[[], None]
) -> dict[str, float]:
    """Which share of `|D|_F^2` lies in the span of Q: of all projections that have a basis together, and the least."""
    total, inside = {}, {}
    for name, basis in bases.items():
        d = update[name].double()
        total[name], inside[name] = float(d.square().sum()), float((d @ basis.q).square().sum())
        tick()
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
