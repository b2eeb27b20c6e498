"""Which layers of a denoiser an adapter adapts."""

from torch import nn

from app.domain.errors import InvalidInputError

Projection = nn.Linear | nn.Conv2d


def adapted_projections(denoiser: nn.Module, names: tuple[str, ...]) -> dict[str, Projection]:
    """The linear and convolutional layers whose path ends with one of `names`, by full path, sorted.

    A name is the end of a path at a dot: `to_q`, `to_out.0`, `mid_block.attentions.0.proj_in`.

    Raises:
        InvalidInputError: a name that no such layer has.
    """
    found: dict[str, Projection] = {}
    unused = set(names)
    for path, module in sorted(denoiser.named_modules()):
        ending = next((name for name in names if f".{path}".endswith(f".{name}")), None)
        if ending is not None and isinstance(module, Projection):
            found[path] = module
            unused.discard(ending)
    if unused:
        listed = ", ".join(sorted(unused))
        raise InvalidInputError(f"The base model has no linear or convolutional layer named {listed}.")
    return found


def projection_shape(projection: Projection) -> tuple[int, int]:
    """(d_out, d_in) of the projection's matrix; a convolution is its flattened kernel."""
    weight = projection.weight
    return weight.shape[0], weight[0].numel()
