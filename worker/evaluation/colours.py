"""The background colours: a name and an RGB value each, far enough apart to be told from pixels alone."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

BACKGROUNDS: Mapping[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (247, 140, 30),
    "yellow": (252, 220, 60),
    "green": (50, 160, 70),
    "teal": (20, 140, 150),
    "blue": (40, 90, 210),
    "purple": (130, 60, 180),
    "pink": (250, 165, 195),
    "brown": (120, 75, 45),
    "grey": (135, 135, 135),
    "black": (20, 20, 20),
    "white": (250, 250, 250),
}
# Each channel of a background is off by up to this much: a name means a neighbourhood, not a value.
JITTER = 6

_CORNER = (slice(0, 4), slice(-4, None))


def nearest_background(pixels: npt.NDArray[np.uint8]) -> str:
    """(h, w, 3) -> the name of the colour in the corners, by the pixels alone.

    The median of the corners' pixels is compared, by the sum of absolute differences. So an icon that reaches into one
    corner does not decide.
    """
    corners = np.concatenate([pixels[y, x].reshape(-1, 3) for y in _CORNER for x in _CORNER])
    seen = np.median(corners, axis=0)
    return min(BACKGROUNDS, key=lambda name: float(np.abs(seen - BACKGROUNDS[name]).sum()))
