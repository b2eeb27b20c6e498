"""`magnitude` (MagMax, arXiv 2407.06322; selective update in arXiv 2410.04891): the larger change wins, per weight.

`D_t` is, element by element, `U_t` where `|U_t| >= |D_{t-1}|`, else `D_{t-1}`: a tie goes to the new value.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from app.domain.strategies import MagnitudeOptions
from worker.adapters.accumulated import ChainLink, LineageState, Update
from worker.adapters.factors import Adapter
from worker.strategies.base import NewTask, Start


@dataclass(frozen=True)
class Magnitude:
    """Keep the larger of the old and the new change."""

    options: MagnitudeOptions

    def start(self, parent: LineageState, task: NewTask) -> Start:
        """As `merge`: gaussian A and zero B, over `W0 + D_{t-1}`."""
        return Start(parent.update, task.fresh_factors())

    def consolidate(self, parent: LineageState, adapter: Adapter) -> LineageState:
        """The larger of `D_{t-1}` and `s B A` in each element."""
        # A selection is no sum; where nothing was before, the adapter's own update stays what it is.
        terms = {name: None if name in parent.update else (adapter,) for name in adapter.modules}
        return parent.followed_by(ChainLink(self.options, adapter), _selected(parent.update, adapter), terms)


def _selected(update: Update, adapter: Adapter) -> Update:
    """A module that only one of the two has counts as zero in the other, so the one stays as it is."""
    total = dict(update)
    for name in sorted(adapter.modules):
        delta = adapter.delta(name)
        total[name] = _larger(total[name], delta) if name in total else delta
    return total


def _larger(old: Tensor, new: Tensor) -> Tensor:
    return torch.where(new.abs() >= old.abs(), new, old)
