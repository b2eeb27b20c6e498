"""Pictures to train the encoder on, made many at once: icons in pseudo-styles, anywhere, on any background, spoiled.

Wider than where the generator's training puts icons (`pictures.Placement`), because what the encoder will score is
generated: softer, blotchy, off in colour and place. It is spoiled by plain operations, never by a generator, so that
no generator's habits are learned.
"""

from collections.abc import Callable
from enum import StrEnum

import torch
from torch import Tensor
from torch.nn import functional as F

from recipes.icons_64.pictures import RESOLUTION
from worker.evaluation.colours import BACKGROUNDS, JITTER

_LUMA = (0.299, 0.587, 0.114)


class Filter(StrEnum):
    """A way to redraw an icon. Five sets alone would teach five styles; a set redrawn is one more."""

    NONE = "none"
    GREY = "grey"
    INK = "ink"
    OUTLINE = "outline"
    SKETCH = "sketch"
    PASTEL = "pastel"


def restyle(icons: Tensor, style: Filter) -> Tensor:
    """(n, 4, h, w) premultiplied RGBA in 0 to 1 -> the same shape, every icon redrawn in that style."""
    return _REDRAW[style](icons[:, :3], icons[:, 3:])


def _grey(colour: Tensor, alpha: Tensor) -> Tensor:
    return torch.cat([luma(colour).expand_as(colour), alpha], dim=1)


def _ink(colour: Tensor, alpha: Tensor) -> Tensor:
    """Black where the icon is darker than its own mean, nothing elsewhere."""
    darkness = alpha - luma(colour)
    mean = darkness.sum((2, 3), keepdim=True) / alpha.sum((2, 3), keepdim=True).clamp(min=1.0)
    cover = alpha * ((darkness - mean) * 8 + 0.5).clamp(0, 1)
    return torch.cat([torch.zeros_like(colour), cover], dim=1)


def _outline(colour: Tensor, alpha: Tensor) -> Tensor:
    """A black rim around the icon, and black along its edges."""
    rim = F.max_pool2d(alpha, 5, stride=1, padding=2)
    edges = _edges(colour)
    return torch.cat([colour * (1 - edges), rim], dim=1)


def _sketch(colour: Tensor, alpha: Tensor) -> Tensor:
    """Its edges in black on white paper of its own shape."""
    rim = F.max_pool2d(alpha, 5, stride=1, padding=2)
    inside = -F.max_pool2d(-alpha, 3, stride=1, padding=1)
    return torch.cat([(inside * (1 - _edges(colour))).expand_as(colour), rim], dim=1)


def _pastel(colour: Tensor, alpha: Tensor) -> Tensor:
    return torch.cat([0.5 * colour + 0.5 * alpha, alpha], dim=1)


def luma(colour: Tensor) -> Tensor:
    """(n, 3, h, w) -> (n, 1, h, w): lightness as the eye weighs the channels."""
    return torch.einsum("nchw,c->nhw", colour, torch.tensor(_LUMA)).unsqueeze(1)


def _edges(colour: Tensor) -> Tensor:
    """(n, 3, h, w) -> (n, 1, h, w): 1 where some channel changes by a quarter or more within a pixel's reach."""
    change = F.max_pool2d(colour, 3, 1, 1) + F.max_pool2d(-colour, 3, 1, 1)
    return (change.amax(1, keepdim=True) * 4).clamp(0, 1).square()


_REDRAW: dict[Filter, Callable[[Tensor, Tensor], Tensor]] = {
    Filter.NONE: lambda colour, alpha: torch.cat([colour, alpha], dim=1),
    Filter.GREY: _grey,
    Filter.INK: _ink,
    Filter.OUTLINE: _outline,
    Filter.SKETCH: _sketch,
    Filter.PASTEL: _pastel,
}


def place(icons: Tensor, backgrounds: Tensor, generator: torch.Generator) -> Tensor:
    """(n, 4, h, w) premultiplied icons and (n, 3) colours in 0 to 1 -> (n, 3, 64, 64) in 0 to 1.

    Each at its own size (0.55 to 1 of the canvas), place, slant (up to 9 degrees) and aspect; one in four mirrored.
    """
    n = len(icons)
    extent = _uniform(n, 0.55, 1.0, generator)
    angle = _uniform(n, -0.15, 0.15, generator)
    aspect = _uniform(n, 0.92, 1.08, generator)
    mirrored = torch.where(torch.rand(n, generator=generator) < 0.25, -1.0, 1.0)
    shift = _uniform(2 * n, -1.0, 1.0, generator).view(2, n) * (1.06 - extent)
    # The map goes from the canvas to the icon, so that it shrinks by 1 / extent.
    cos, sin = angle.cos() / extent, angle.sin() / extent
    rows = torch.stack([mirrored * cos * aspect, -sin, sin, cos / aspect], dim=1).view(n, 2, 2)
    offset = -(rows @ shift.T.unsqueeze(2))
    grid = F.affine_grid(torch.cat([rows, offset], dim=2), [n, 4, RESOLUTION, RESOLUTION], align_corners=False)
    placed = F.grid_sample(icons, grid, align_corners=False)
    return placed[:, :3] + (1 - placed[:, 3:]) * backgrounds.view(n, 3, 1, 1)


def draw_backgrounds(count: int, generator: torch.Generator) -> Tensor:
    """(count, 3) in 0 to 1: three in five one of the named colours, the others any colour."""
    named = torch.tensor(list(BACKGROUNDS.values()), dtype=torch.float32)
    chosen = named[torch.randint(len(named), (count,), generator=generator)]
    chosen += torch.randint(-JITTER, JITTER + 1, (count, 3), generator=generator)
    anything = torch.rand(count, 3, generator=generator)
    is_named = torch.rand(count, 1, generator=generator) < 0.6
    return torch.where(is_named, chosen.div(255).clamp(0, 1), anything)


def spoil(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """(n, 3, 64, 64) in 0 to 1 -> the same shape: the first half with shades off, and blur, blotches or noise.

    The other half stays clean, because a set's exact colours are much of its style.
    """
    spoiled = pictures.clone()
    half = spoiled[: len(pictures) // 2]
    n = len(half)
    contrast = _uniform(3 * n, 0.9, 1.1, generator).view(n, 3, 1, 1)
    half.sub_(0.5).mul_(contrast).add_(0.5 + _uniform(3 * n, -0.05, 0.05, generator).view(n, 3, 1, 1))
    side = int(torch.randint(18, 52, (1,), generator=generator))
    soft = half[: n // 2]
    shrunk = F.interpolate(soft, size=(side, side), mode="bilinear", antialias=True)
    soft.copy_(F.interpolate(shrunk, size=(RESOLUTION, RESOLUTION), mode="bicubic"))
    rough = half[n // 4 :]
    for cells in (8, 16, 32, 64):
        noise = torch.randn(len(rough), 3, cells, cells, generator=generator)
        strength = _uniform(len(rough), 0.0, 0.05, generator).view(-1, 1, 1, 1)
        rough += strength * F.interpolate(noise, size=(RESOLUTION, RESOLUTION), mode="bilinear")
    return spoiled.clamp(0, 1)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low
