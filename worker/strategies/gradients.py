"""Gradients of a loss with respect to D, one projection at a time: nothing of the size of all of them is held."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

OnGradient = Callable[[str, Tensor], None]
"""Given a projection's path and the gradient with respect to its D, d_out x d_in."""


@contextmanager
def gradients_of(weights: Mapping[str, nn.Parameter], on_gradient: OnGradient) -> Iterator[None]:
    """Within it, `backward` of a loss hands `on_gradient` the gradient of each of the frozen `weights` in turn.

    They are `W0 + D`, so that it is D's gradient too. Afterwards they are frozen again, and no gradient is left.
    """
    handles = []
    try:
        for name, weight in weights.items():
            weight.requires_grad_(True)
            handles.append(weight.register_post_accumulate_grad_hook(_taking(name, on_gradient)))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for weight in weights.values():
            weight.requires_grad_(False)
            weight.grad = None


def _taking(name: str, on_gradient: OnGradient) -> Callable[[Tensor], None]:
    def take(weight: Tensor) -> None:
        assert weight.grad is not None
        on_gradient(name, weight.grad.flatten(1))
        weight.grad = None

    return take
