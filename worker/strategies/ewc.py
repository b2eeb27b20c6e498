"""`ewc` (EWC in delta space, arXiv 2602.17559): `merge`, with a penalty on what earlier concepts' losses depend on.

The loss of each step grows by `lam/2 sum(Omega_{t-1} * (s B A)^2)`, over all elements of all projections. Afterwards
`Omega_t = gamma Omega_{t-1} + F_t`. F_t is the squared gradient of one sample's loss with respect to D, averaged over
samples of this task's images. It is scaled to mean 1 over all projections together.

Of Omega only the mean of each row and of each column is kept: the sizes of an adapter of rank 1. `Omega_ij` is taken as
`row_i column_j / mean`, as Adafactor keeps second moments (arXiv 1804.04235). Means of sums are sums of means, so gamma
and F_t act on them exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from app.domain.strategies import EwcOptions
from worker.adapters.accumulated import LineageState
from worker.adapters.injected import LiveAdapter, LiveFactors
from worker.strategies.gradients import gradients_of
from worker.strategies.importance import Importance, added, packed, unpacked
from worker.strategies.strategy import TaskStart
from worker.strategies.task_context import AdaptedBase, TaskContext


@dataclass(frozen=True)
class Ewc:
    """Merge, and hold new updates off the weights that earlier concepts' losses are sensitive to."""

    options: EwcOptions

    def start(self, parent: LineageState, context: TaskContext) -> TaskStart:
        """As `merge`: gaussian A and zero B, over `W0 + D_{t-1}`."""
        earlier = unpacked(parent.strategy_state)
        return TaskStart(
            parent.update,
            context.fresh_factors(),
            extra_loss=partial(_penalty, earlier, self.options.lam),
            keep=partial(self._keep, earlier),
        )

    def _keep(self, earlier: Mapping[str, Importance], adapted: AdaptedBase) -> dict[str, Tensor]:
        """Omega_t, for the next task."""
        return packed(added(earlier, self.options.gamma, self._fisher(adapted)))

    def _fisher(self, adapted: AdaptedBase) -> dict[str, Importance]:
        """F_t, each sample an image with a noise and a timestep of its own."""
        total: dict[str, Importance] = {}

        def add(name: str, gradient: Tensor) -> None:
            own = Importance.of(gradient.float().square())
            total[name] = total[name].plus(own) if name in total else own

        generator = adapted.context.stream("fisher")
        with gradients_of(adapted.adapter.frozen_weights(), add):
            for _ in range(self.options.fisher_samples):
                adapted.context.concept_loss(1, generator).backward()
                adapted.context.tick()
        return _at_mean_one(total)


def _at_mean_one(total: Mapping[str, Importance]) -> dict[str, Importance]:
    """At mean 1 over all elements of all projections, so that projections that matter more keep their lead."""
    size = sum(len(part.row) * len(part.column) for part in total.values())
    mean = sum(float(part.row.sum()) * len(part.column) for part in total.values()) / size
    return {name: part.times(1 / mean) for name, part in total.items()} if mean > 0 else {}


@dataclass(frozen=True)
class ImportancePenalty:
    """`lam/2 sum(Omega * (s B A)^2)`; `roots` are the square roots of Omega's two factors, by module."""

    adapter: LiveAdapter
    roots: Mapping[str, tuple[Tensor, Tensor]]
    lam: float
    # Empty: it draws nothing.
    streams: Mapping[str, torch.Generator] = field(default_factory=dict)

    def of_step(self) -> Tensor | None:
        """The penalty of the adapter as it is now; None, which costs nothing, while there is nothing to protect."""
        if self.lam == 0 or not self.roots:
            return None
        sums = [_weighted_square(self.adapter.modules[name], *roots) for name, roots in self.roots.items()]
        return self.lam / 2 * self.adapter.scale**2 * torch.stack(sums).sum()

    def notes(self) -> dict[str, float]:
        """`update_norm`, |s B A|_F over all projections: too high a price drives it to zero."""
        return {"update_norm": self.adapter.update_norm()}


def _weighted_square(factors: LiveFactors, row: Tensor, column: Tensor) -> Tensor:
    """`sum_ij row_i^2 column_j^2 (B A)_ij^2`, from products of r x r alone: |X Y|_F^2 = tr(X^T X Y Y^T)."""
    b, a = row[:, None] * factors.b.flatten(1), factors.a.flatten(1) * column
    return ((b.T @ b) * (a @ a.T)).sum()


def _penalty(earlier: Mapping[str, Importance], lam: float, adapted: AdaptedBase) -> ImportancePenalty:
    roots = {
        name: _roots(earlier[name], factors.a.device)
        for name, factors in adapted.adapter.modules.items()
        if name in earlier and earlier[name].mean > 0
    }
    return ImportancePenalty(adapted.adapter, roots, lam)


def _roots(importance: Importance, device: torch.device) -> tuple[Tensor, Tensor]:
    """`sqrt(row)` and `sqrt(column / mean)`, whose squares' outer product is Omega."""
    row, column = importance.row.to(device), importance.column.to(device)
    return row.sqrt(), (column / importance.mean).sqrt()
