"""Procedural styles that the generator learns by name: ways to redraw an icon of one set, shape kept.

They mean the same for every name, so that a style's word is learned apart from the things. The filters of
`encoder_augmentation` (grey, ink, outline, sketch, pastel) are kept from the generator: studies teach those.
"""

from collections.abc import Callable
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recipes.icons_64.encoder_augmentation import luma
from recipes.icons_64.pictures import Pixels

# Whose icons are redrawn: flat colours leave each redrawing its own look.
SOURCE_SET = "fluent-emoji-flat"
_NAVY, _SALMON = (0.10, 0.12, 0.35), (1.00, 0.78, 0.62)
_VIOLET, _GOLD = (0.55, 0.15, 0.85), (1.00, 0.80, 0.20)
_BLOCKS = 14
_RIM = 13
_STRIPE = 10


class Redrawing(StrEnum):
    """A procedural style; the value is its noun in captions."""

    DUOTONE = "duotone"
    PIXELATED = "pixelated"
    STICKER = "sticker"
    INVERTED = "inverted"
    GRADIENT = "gradient"
    EMBOSSED = "embossed"
    STRIPED = "striped"
    SWAPPED = "swapped"


def redraw(raster: Pixels, style: Redrawing) -> Pixels:
    """(h, w, 4) uint8 RGBA, not premultiplied -> the same, redrawn."""
    pixels = torch.from_numpy(np.array(raster)).permute(2, 0, 1).unsqueeze(0).float().div(255)
    alpha = pixels[:, 3:]
    drawn = _REDRAW[style](pixels[:, :3] * alpha, alpha)
    colour = torch.where(drawn[:, 3:] > 0, drawn[:, :3] / drawn[:, 3:].clamp(min=1e-3), 0.0)
    straight = torch.cat([colour, drawn[:, 3:]], dim=1).clamp(0, 1).mul(255).round().byte()
    return straight[0].permute(1, 2, 0).numpy()


# Each maps premultiplied colour, (n, 3, h, w), and alpha, (n, 1, h, w), both in 0 to 1, to premultiplied RGBA.


def _duotone(colour: Tensor, alpha: Tensor) -> Tensor:
    """Dark parts navy, light parts salmon."""
    light = luma(colour)
    return torch.cat([_colour(_SALMON) * light + _colour(_NAVY) * (alpha - light), alpha], dim=1)


def _pixelated(colour: Tensor, alpha: Tensor) -> Tensor:
    """Fourteen blocks a side, each of one colour, covered or not."""
    blocks = F.adaptive_avg_pool2d(torch.cat([colour, alpha], dim=1), _BLOCKS)
    cover = (blocks[:, 3:] > 0.4).float()
    whole = torch.cat([blocks[:, :3] / blocks[:, 3:].clamp(min=1e-3) * cover, cover], dim=1)
    return F.interpolate(whole, size=colour.shape[2:], mode="nearest")


def _sticker(colour: Tensor, alpha: Tensor) -> Tensor:
    """A white rim, thinly lined in grey so that it shows on white too."""
    rim = F.max_pool2d(alpha, _RIM, 1, _RIM // 2)
    line = F.max_pool2d(rim, 5, 1, 2)
    paper = rim + 0.55 * (line - rim)
    return torch.cat([colour + paper * (1 - alpha), line], dim=1)


def _inverted(colour: Tensor, alpha: Tensor) -> Tensor:
    """The negative."""
    return torch.cat([alpha - colour, alpha], dim=1)


def _gradient(colour: Tensor, alpha: Tensor) -> Tensor:
    """Violet at the top to gold at the bottom, shaded by the icon's own lightness."""
    down = torch.linspace(0, 1, colour.shape[2]).view(1, 1, -1, 1)
    tint = _colour(_VIOLET) * (1 - down) + _colour(_GOLD) * down
    return torch.cat([tint * (0.35 * alpha + 0.65 * luma(colour)), alpha], dim=1)


def _embossed(colour: Tensor, alpha: Tensor) -> Tensor:
    """Grey relief, lit from the upper left."""
    light = luma(colour) + 0.5 * alpha
    slope = light - torch.roll(light, (3, 3), (2, 3))
    return torch.cat([(alpha * (0.55 + 0.9 * slope).clamp(0, 1)).expand_as(colour), alpha], dim=1)


def _striped(colour: Tensor, alpha: Tensor) -> Tensor:
    """Every other band across it is white."""
    rows = torch.arange(colour.shape[2]) // _STRIPE % 2
    band = rows.view(1, 1, -1, 1).float()
    return torch.cat([colour * (1 - band) + (0.2 * colour + 0.8 * alpha) * band, alpha], dim=1)


def _swapped(colour: Tensor, alpha: Tensor) -> Tensor:
    """Red shows as green, green as blue, blue as red."""
    return torch.cat([colour.roll(1, dims=1), alpha], dim=1)


def _colour(rgb: tuple[float, float, float]) -> Tensor:
    return torch.tensor(rgb).view(1, 3, 1, 1)


_REDRAW: dict[Redrawing, Callable[[Tensor, Tensor], Tensor]] = {
    Redrawing.DUOTONE: _duotone,
    Redrawing.PIXELATED: _pixelated,
    Redrawing.STICKER: _sticker,
    Redrawing.INVERTED: _inverted,
    Redrawing.GRADIENT: _gradient,
    Redrawing.EMBOSSED: _embossed,
    Redrawing.STRIPED: _striped,
    Redrawing.SWAPPED: _swapped,
}
