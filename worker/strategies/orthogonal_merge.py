"""`orthogonal_merge` (Merge & Orthogonal Init, arXiv 2410.04891): `merge` whose A starts away from what was learned.

`D_t = D_{t-1} + U_t`. The bases `span` and `previous` start from the gaussian draw of `merge` and take out of it what
lies in the span of Q: `A (I - Q Q^T)`, at the draw's norm. Where a projection has learned nothing yet, A is that draw.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.domain.errors import InvalidInputError
from app.domain.strategies import OrthogonalBasis, OrthogonalMergeOptions
from app.domain.training import TrainingOptions
from worker.adapters.accumulated import ChainLink, LineageState, added
from worker.adapters.factors import Adapter, Factors
from worker.strategies.base import Shapes, Start, fresh_factors
from worker.strategies.bases import RowBasis, at_norm_of, covered_energy, projected_out, reference_rows, row_basis


@dataclass(frozen=True)
class OrthogonalMerge:
    """Merge, and start the next adapter orthogonal to what was learned."""

    options: OrthogonalMergeOptions

    def start(
        self, parent: LineageState, shapes: Shapes, training: TrainingOptions, generator: torch.Generator
    ) -> Start:
        """A by the basis of the options, and zero B, over `W0 + D_{t-1}`; a first task starts as `merge` does.

        Raises:
            InvalidInputError: `strict`, and Q had to be cut; or `reference` after adapters of another rank.
        """
        fresh = fresh_factors(shapes, training.rank, generator)
        # The first task has nothing to stay orthogonal to, and is the same for every strategy.
        trains_a = parent.last is None or not self.options.freeze_a
        if self.options.basis is OrthogonalBasis.REFERENCE:
            return Start(parent.update, self._by_reference(parent, fresh), trains_a)
        bases = _bases(self._matrices(parent), fresh)
        if self.options.strict:
            _refuse_cut(bases, training.rank)
        turned = {name: replace(fresh[name], a=projected_out(fresh[name].a, bases[name].q)) for name in bases}
        return Start(parent.update, fresh | turned, trains_a, covered_energy(parent.update, bases))

    def consolidate(self, parent: LineageState, adapter: Adapter) -> LineageState:
        """`D_{t-1} + s B A`."""
        return parent.followed_by(ChainLink(self.options, adapter), added(parent.update, adapter))

    def _matrices(self, parent: LineageState) -> Mapping[str, Tensor]:
        """By module, the matrix to whose rows A is to be orthogonal: `D_{t-1}`, or `A_{t-1}`."""
        if self.options.basis is OrthogonalBasis.SPAN:
            return parent.update
        return {} if parent.last is None else {name: f.a for name, f in parent.last.adapter.modules.items()}

    def _by_reference(self, parent: LineageState, fresh: Mapping[str, Factors]) -> dict[str, Factors]:
        factors = dict(fresh)
        for name in fresh.keys() & parent.sum_of_a.keys():
            drawn = fresh[name].a
            a = reference_rows(_of_shape(parent.sum_of_a[name], drawn, name))
            factors[name] = replace(fresh[name], a=at_norm_of(drawn, a) if self.options.match_norm else a)
        return factors


def _bases(matrices: Mapping[str, Tensor], fresh: Mapping[str, Factors]) -> dict[str, RowBasis]:
    """Q of each module that is to be trained and has learned something; room is left for A's own r rows."""
    return {
        name: row_basis(matrices[name], factors.a.shape[1] - factors.a.shape[0])
        for name, factors in fresh.items()
        if name in matrices
    }


def _refuse_cut(bases: Mapping[str, RowBasis], rank: int) -> None:
    cut = [name for name, basis in bases.items() if basis.is_cut]
    if cut:
        room = f"{cut[0]} has {bases[cut[0]].q.shape[0]} inputs, of which {bases[cut[0]].rank} are in use"
        raise InvalidInputError(
            f"strict: beside an adapter of rank {rank} there is no room for all that was learned in {len(cut)} of "
            f"{len(bases)} projections ({room}). Lower the rank, or leave strict out."
        )


def _of_shape(earlier: Tensor | None, a: Tensor, name: str) -> Tensor:
    if earlier is None or earlier.shape != a.shape:
        raise InvalidInputError(
            f"The basis 'reference' needs earlier adapters of the same rank, here {a.shape[0]}; those of {name} differ."
        )
    return earlier
