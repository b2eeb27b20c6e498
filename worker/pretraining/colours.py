"""The background colours: a name and an RGB value each, far enough apart to be told from pixels alone."""

from collections.abc import Mapping

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
# Each channel of a background is off by up to this much, so that the name means a neighbourhood and not a value.
JITTER = 6
