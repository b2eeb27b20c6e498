"""LoRA layers on a denoiser while it is trained, through peft, and off again afterwards."""

import math
import re
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer, LoraModel
from torch import Tensor, nn

from worker.adapters.factors import Adapter, Factors

_NAME = "palimpsest"


@dataclass(frozen=True)
class LiveFactors:
    """One projection's factors as parameters in training; a convolution's have their kernel's four dimensions."""

    a: nn.Parameter
    b: nn.Parameter

    def product(self) -> Tensor:
        """`B A`, d_out x d_in, through which gradients flow."""
        return self.b.flatten(1) @ self.a.flatten(1)

    def snapshot(self) -> Factors:
        """A copy on the CPU, kernels flattened."""
        return Factors.of(*(part.detach().to("cpu", torch.float32, copy=True) for part in (self.a, self.b)))

    def load(self, factors: Factors) -> None:
        """Take the values of `factors`, in place."""
        with torch.no_grad():
            self.a.copy_(factors.a.view_as(self.a))
            self.b.copy_(factors.b.view_as(self.b))


@dataclass(frozen=True)
class LiveAdapter:
    """An adapter in training: its live factors by module path, in sorted order, their scale s, and their layers."""

    scale: float
    modules: Mapping[str, LiveFactors]
    layers: tuple[LoraLayer, ...]

    def parameters(self) -> list[nn.Parameter]:
        """A and B of each module in turn; the order is the same each time."""
        return [part for factors in self.modules.values() for part in (factors.a, factors.b)]

    def trainable(self) -> list[nn.Parameter]:
        """Those of the parameters that are trained, in their order."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def snapshot(self) -> Adapter:
        """A copy on the CPU."""
        return Adapter(self.scale, {name: factors.snapshot() for name, factors in self.modules.items()})

    def frozen_weights(self) -> dict[str, nn.Parameter]:
        """The weight beneath each module's factors, to which their product is added."""
        return {name: layer.get_base_layer().weight for name, layer in zip(self.modules, self.layers, strict=True)}

    def update_norm(self) -> float:
        """`|s B A|_F` over all projections as it is now."""
        adapter = self.snapshot()
        return math.sqrt(sum(float(adapter.delta(name).double().square().sum()) for name in adapter.modules))

    @contextmanager
    def bypassed(self) -> Iterator[None]:
        """Within it the layers compute `W x` alone, exactly what they would without the adapter."""
        trained = [parameter.requires_grad for parameter in self.parameters()]
        self._enable(False)
        try:
            yield
        finally:
            self._enable(True)
            # peft makes all factors trainable when it enables them, also an A that is to stay as it is.
            for parameter, requires_grad in zip(self.parameters(), trained, strict=True):
                parameter.requires_grad_(requires_grad)

    def _enable(self, enabled: bool) -> None:
        for layer in self.layers:
            layer.enable_adapters(enabled)


@contextmanager
def injected(
    denoiser: nn.Module, factors: Mapping[str, Factors], alpha: float, frozen_a: Set[str] = frozenset()
) -> Iterator[LiveAdapter]:
    """Within it, `denoiser` computes `W x + (alpha / r) B A x` with trainable fp32 copies of `factors`, all of rank r.

    In the modules of `frozen_a` only B is trainable. Exactly the modules of `factors` are wrapped, and each is its
    former self again afterwards, also on an exception.

    Raises:
        ValueError: the factors are not all of one rank.
    """
    ranks = {part.a.shape[0] for part in factors.values()}
    if len(ranks) != 1:
        raise ValueError(f"factors of ranks {sorted(ranks)} cannot be trained together")
    rank = ranks.pop()
    # A pattern has to match a whole path; names in a list would match any path that ends with them.
    paths = "|".join(re.escape(name) for name in factors)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=paths, init_lora_weights=False)
    tuner = LoraModel(denoiser, config, _NAME)
    try:
        layers = {name: _layer(denoiser, name) for name in sorted(factors)}
        live = {name: _live(layer, factors[name]) for name, layer in layers.items()}
        for name in frozen_a:
            live[name].a.requires_grad_(False)
        yield LiveAdapter(alpha / rank, live, tuple(layers.values()))
    finally:
        tuner.unload()


def _layer(denoiser: nn.Module, name: str) -> LoraLayer:
    layer = denoiser.get_submodule(name)
    assert isinstance(layer, LoraLayer)
    return layer


def _live(layer: LoraLayer, factors: Factors) -> LiveFactors:
    live = LiveFactors(layer.lora_A[_NAME].weight, layer.lora_B[_NAME].weight)
    for part in (live.a, live.b):
        part.data = part.data.to(torch.float32)
    live.load(factors)
    return live
