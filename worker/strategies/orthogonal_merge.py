"""`orthogonal_merge` (Merge & Orthogonal Init, arXiv 2410.04891): `merge` whose A starts away from what was learned.

`D_t = D_{t-1} + U_t`. The bases `span` and `previous` start from the gaussian draw of `merge`. They remove what lies in
the span of Q: `A (I - Q Q^T)`, at the draw's norm. If a projection has learned nothing yet, A is that draw.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from app.domain.errors import InvalidInputError
from app.domain.strategies import OrthogonalBasis, OrthogonalMergeOptions
from worker.adapters.accumulated import LineageState
from worker.adapters.factors import Factors
from worker.strategies.strategy import TaskStart
from worker.strategies.subspaces import (
    RowBasis,
    at_norm_of,
    bases_of_learned,
    covered_energy,
    reference_rows,
    room_beside,
    row_basis,
    turned_away,
)
from worker.strategies.task_context import TaskContext


@dataclass(frozen=True)
class OrthogonalMerge:
    """Merge, and start the next adapter orthogonal to what was learned."""

    options: OrthogonalMergeOptions

    def start(self, parent: LineageState, context: TaskContext) -> TaskStart:
        """A by the basis of the options, and zero B, over `W0 + D_{t-1}`; a first task starts as `merge` does.

        Raises:
            InvalidInputError: `strict`, and Q had to be cut; or `reference` after adapters of another rank.
        """
        fresh = context.fresh_factors()
        # The first task has nothing to stay orthogonal to, and is the same for every strategy.
        frozen_a = frozenset(fresh) if self.options.freeze_a and parent.last is not None else frozenset()
        if self.options.basis is OrthogonalBasis.REFERENCE:
            return TaskStart(parent.update, self._by_reference(parent, fresh), frozen_a)
        bases = self._bases(parent, fresh, context.tick)
        if self.options.strict:
            _refuse_cut(bases, context.training.rank)
        notes = covered_energy(parent.update, bases, context.tick)
        return TaskStart(parent.update, turned_away(fresh, bases), frozen_a, notes)

    def _bases(
        self, parent: LineageState, fresh: Mapping[str, Factors], tick: Callable[[], None]
    ) -> dict[str, RowBasis]:
        """By module, Q of the matrix to whose rows A is to be orthogonal: `D_{t-1}`, or `A_{t-1}`."""
        if self.options.basis is OrthogonalBasis.SPAN:
            return bases_of_learned(parent, fresh, tick)
        before = {} if parent.last is None else parent.last.adapter.modules
        return {name: row_basis(before[name].a, room_beside(fresh[name])) for name in fresh if name in before}

    def _by_reference(self, parent: LineageState, fresh: Mapping[str, Factors]) -> dict[str, Factors]:
        factors = dict(fresh)
        for name in fresh.keys() & parent.sum_of_a.keys():
            drawn = fresh[name].a
            a = reference_rows(_of_shape(parent.sum_of_a[name], drawn, name))
            factors[name] = replace(fresh[name], a=at_norm_of(drawn, a) if self.options.match_norm else a)
        return factors


def _refuse_cut(bases: Mapping[str, RowBasis], rank: int) -> None:
    cut = [name for name, basis in bases.items() if basis.is_cut]
    if cut:
        room = f"{cut[0]} has {bases[cut[0]].q.shape[0]} inputs, of which {bases[cut[0]].rank} are in use"
        raise InvalidInputError(
            f"strict: an adapter of rank {rank} leaves too little room in {len(cut)} of {len(bases)} projections "
            f"({room}). Lower the rank, or leave strict out."
        )


def _of_shape(earlier: Tensor | None, a: Tensor, name: str) -> Tensor:
    if earlier is None or earlier.shape != a.shape:
        raise InvalidInputError(
            f"The basis 'reference' needs earlier adapters of the same rank, here {a.shape[0]}; those of {name} differ."
        )
    return earlier
