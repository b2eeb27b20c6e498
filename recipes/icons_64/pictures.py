"""Rasterise icons once, then place them on coloured backgrounds with small shifts and scales."""

import io
import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import resvg_py
from PIL import Image

from worker.evaluation.colours import BACKGROUNDS, JITTER

RESOLUTION = 64
RASTER = 128
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Placement:
    """Where an icon goes: `extent` is its side as a share of the canvas; `x`, `y` share out the room left, 0 to 1."""

    extent: float
    x: float
    y: float
    background: tuple[int, int, int]

    @classmethod
    def draw(cls, generator: random.Random, background: str) -> "Placement":
        """`background` names the colour; extent 0.72 to 0.94, near the middle."""
        shade = _shade(generator, background)
        return cls(generator.uniform(0.72, 0.94), generator.uniform(0.2, 0.8), generator.uniform(0.2, 0.8), shade)

    @classmethod
    def centred(cls, generator: random.Random, background: str) -> "Placement":
        """`background` names the colour; seven eighths of the canvas, in its middle."""
        return cls(0.875, 0.5, 0.5, _shade(generator, background))


def _shade(generator: random.Random, background: str) -> tuple[int, int, int]:
    r, g, b = (max(0, min(255, v + generator.randint(-JITTER, JITTER))) for v in BACKGROUNDS[background])
    return r, g, b


def rasterise(svg: str, size: int = RASTER) -> Pixels:
    """SVG -> (size, size, 4) uint8 RGBA, not premultiplied, the icon scaled to fit and centred."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, skip_system_fonts=True)
    image = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    image.thumbnail((size, size))
    canvas = Image.new("RGBA", (size, size))
    canvas.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return np.asarray(canvas)


def compose(raster: Pixels, placement: Placement, resolution: int = RESOLUTION) -> Pixels:
    """(h, w, 4) uint8 RGBA -> (resolution, resolution, 3) uint8 RGB."""
    side = round(placement.extent * resolution)
    icon = Image.fromarray(raster, "RGBA").resize((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    room = resolution - side
    canvas = Image.new("RGB", (resolution, resolution), placement.background)
    canvas.paste(icon, (round(placement.x * room), round(placement.y * room)), icon)
    return np.asarray(canvas)
