"""`c_lora` (Continual Diffusion, arXiv 2304.06027): `merge`, with a penalty on what earlier concepts changed.

The loss of each step grows by `lam | abs(D_{t-1}) * (s B A) |_F^2`, summed over the projections. Here * is elementwise,
and `abs(D_{t-1})` is scaled to mean 1 in each projection. It needs no data, old or new.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from app.domain.strategies import CLoraOptions
from worker.adapters.accumulated import LineageState, Update
from worker.adapters.injected import LiveAdapter
from worker.strategies.strategy import TaskStart
from worker.strategies.task_context import AdaptedBase, TaskContext


@dataclass(frozen=True)
class CLora:
    """Merge, and hold new updates off the weights that earlier ones changed most."""

    options: CLoraOptions

    def start(self, parent: LineageState, context: TaskContext) -> TaskStart:
        """As `merge`: gaussian A and zero B, over `W0 + D_{t-1}`."""
        factors = context.fresh_factors()
        return TaskStart(parent.update, factors, extra_loss=partial(_penalty, parent.update, self.options.lam))


@dataclass(frozen=True)
class ChangePenalty:
    """`lam | abs(D) * (s B A) |_F^2`; `importance` is abs(D) at mean 1, of the modules that have changed at all."""

    adapter: LiveAdapter
    importance: Mapping[str, Tensor]
    lam: float
    # Empty: it draws nothing.
    streams: Mapping[str, torch.Generator] = field(default_factory=dict)

    def of_step(self) -> Tensor | None:
        """The penalty of the adapter as it is now; None, which costs nothing, while there is nothing to protect."""
        if self.lam == 0 or not self.importance:
            return None
        changes = (
            weights * (self.adapter.scale * self.adapter.modules[name].product())
            for name, weights in self.importance.items()
        )
        return self.lam * torch.stack([change.square().sum() for change in changes]).sum()

    def notes(self) -> dict[str, float]:
        """`update_norm`, |s B A|_F over all projections: a penalty may drive it to zero (arXiv 2410.00700)."""
        return {"update_norm": self.adapter.update_norm()}


def _penalty(update: Update, lam: float, adapted: AdaptedBase) -> ChangePenalty:
    importance = {
        name: _at_mean_one(update[name].abs()).to(factors.a.device)
        for name, factors in adapted.adapter.modules.items()
        if name in update and update[name].any()
    }
    return ChangePenalty(adapted.adapter, importance, lam)


def _at_mean_one(weights: Tensor) -> Tensor:
    return weights / weights.mean()
