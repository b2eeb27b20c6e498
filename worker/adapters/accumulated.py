"""The accumulated update D of a version, and putting it on a base and taking it off again.

Version t of a lineage is the base with `W0 + D_t` in every adapted projection (docs/strategies.md).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from app.domain.chains import is_same_run
from app.domain.strategies import StrategyOptions
from worker.adapters.factors import Adapter

Update = Mapping[str, Tensor]
"""D by module path: d_out x d_in, fp32 on the CPU. A module that is not in it is not changed: the base's is empty."""


class UpdateMismatchError(ValueError):
    """An update is not of this base model."""


@dataclass(frozen=True)
class ChainLink:
    """One version of a lineage's chain: the strategy it was learned by, and its own task's adapter.

    `instance_prompts` are what its concepts were taught with: one for a training, for an import those of its file.
    `strategy_state` is what its strategy kept for the next task beside the adapter: for most nothing.
    """

    strategy: StrategyOptions
    adapter: Adapter
    instance_prompts: tuple[str, ...] = ()
    strategy_state: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class LineageState:
    """What a task may see of its parent version: D, the last task's link, and what single strategies need beside them.

    A *run* is a stretch of versions of a strategy all of whose tasks start over the same version b (`naive`,
    `isolated`); `run_start` is b. A strategy whose every task starts over its parent leaves it None.

    `sum_of_a` is the sum of the A's (r x d_in) of all adapters that D is made of, for the basis `reference` of
    `orthogonal_merge`. It is None for a module whose A's are not all of one rank.

    `strategy_state` is what the nearest version that kept anything has kept; D does not depend on it.

    `terms` are, by module, the adapters whose updates D is the sum of; None where D is no such sum.
    """

    update: Update
    last: ChainLink | None = None
    run_start: "LineageState | None" = None
    sum_of_a: Mapping[str, Tensor | None] = field(default_factory=dict)
    strategy_state: Mapping[str, Tensor] = field(default_factory=dict)
    terms: Mapping[str, tuple[Adapter, ...] | None] = field(default_factory=dict)

    def where_run_began(self, strategy: StrategyOptions) -> "LineageState":
        """The version that a task under this strategy starts over: b of the run that it goes on with, else this one."""
        is_running = self.last is not None and is_same_run(self.last.strategy, strategy)
        return self.run_start if is_running and self.run_start is not None else self


BASE_STATE = LineageState(update={})
"""Version 0: nothing learned, D = 0."""


def added(update: Update, adapter: Adapter) -> Update:
    """D + s B A, a new update; modules that only one of them has count as zero in the other."""
    total = dict(update)
    for name in sorted(adapter.modules):
        delta = adapter.delta(name)
        total[name] = total[name] + delta if name in total else delta
    return total


@dataclass(frozen=True)
class AppliedUpdate:
    """An update that is on a base just now: the base's own parameters, set aside, and the modules they belong to."""

    originals: Mapping[str, Tensor]
    modules: Mapping[str, nn.Linear | nn.Conv2d]

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Within it the modules compute with W0 again; nothing is computed or copied, parameters only change places."""
        shifted = {name: module.weight for name, module in self.modules.items()}
        self._put(self.originals)
        try:
            yield
        finally:
            self._put(shifted)

    def _put(self, parameters: Mapping[str, Tensor]) -> None:
        for name, module in self.modules.items():
            module.weight = parameters[name]


@contextmanager
def applied(denoiser: nn.Module, update: Update) -> Iterator[AppliedUpdate]:
    """Within it, each module of `update` computes with `W0 + D`, summed in fp32; after it, with W0, bit for bit.

    The base's own parameters are set aside, not written to, so nothing can leave a trace in them; what this costs is
    one more copy of the adapted projections.

    Raises:
        UpdateMismatchError: a module is missing, or its weight has another shape; the base is then untouched.
    """
    modules = {name: projection_of(denoiser, name, delta.shape) for name, delta in update.items()}
    originals = {name: module.weight for name, module in modules.items()}
    try:
        for name, module in modules.items():
            module.weight = _shifted(originals[name], update[name])
        yield AppliedUpdate(originals, modules)
    finally:
        for name, module in modules.items():
            module.weight = originals[name]


def projection_of(denoiser: nn.Module, name: str, shape: tuple[int, ...]) -> nn.Linear | nn.Conv2d:
    """The linear or convolutional layer of that path, whose matrix must have that shape.

    Raises:
        UpdateMismatchError: there is no such layer, or its matrix has another shape.
    """
    try:
        module = denoiser.get_submodule(name)
    except AttributeError as error:
        raise UpdateMismatchError(f"the base model has no module {name}") from error
    if not isinstance(module, nn.Linear | nn.Conv2d):
        raise UpdateMismatchError(f"{name} is neither a linear nor a convolutional layer")
    if module.weight.flatten(1).shape != shape:
        shapes = f"{tuple(module.weight.flatten(1).shape)}, the update {tuple(shape)}"
        raise UpdateMismatchError(f"{name} has shape {shapes}")
    return module


def _shifted(weight: Tensor, delta: Tensor) -> nn.Parameter:
    total = weight.detach().to(torch.float32) + delta.to(weight.device, torch.float32).view_as(weight)
    return nn.Parameter(total.to(weight.dtype), requires_grad=False)
