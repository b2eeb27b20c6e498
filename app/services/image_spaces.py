"""Colour spaces that files name by numbers, as ICC profiles: so one engine (littleCMS) converts whatever comes.

PNG has chromaticities and a gamma, AVIF, HEIC and newer PNGs have code points (ITU-T H.273), cameras have a tag of
EXIF. A profile is a matrix and a curve (ICC.1:2022): the primaries in XYZ adapted to D50, and the transfer function.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Point = tuple[float, float]

# Chromaticities (x, y).
_D65 = (0.3127, 0.3290)
_D50_XYZ = np.array([0.96422, 1.0, 0.82521])
# The cone responses by which ICC adapts white points (Bradford).
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@dataclass(frozen=True)
class Primaries:
    """The chromaticities of white, red, green and blue."""

    white: Point
    red: Point
    green: Point
    blue: Point


@dataclass(frozen=True)
class Curve:
    """`((a x + b)^g for x >= d, else c x)`: from a sample to light, both from 0 to 1."""

    g: float
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0


REC_709 = Primaries(_D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
ADOBE_RGB = Primaries(_D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
_DISPLAY_P3 = Primaries(_D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_REC_2020 = Primaries(_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
_SYSTEM_M = Primaries((0.310, 0.316), (0.67, 0.33), (0.21, 0.71), (0.14, 0.08))
_PAL = Primaries(_D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06))
_NTSC = Primaries(_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070))

SRGB_CURVE = Curve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
ADOBE_CURVE = Curve(563 / 256)

# H.273, tables 2 and 3. Video's own curves (1, 6, 14, 15) are shown on screens as sRGB is, as browsers do. What is not
# here is light beyond white (16: PQ, 18: HLG) or of sciences, and nothing for a picture of 8 bits.
_PRIMARIES = {
    1: REC_709,
    2: REC_709,
    4: _SYSTEM_M,
    5: _PAL,
    6: _NTSC,
    7: _NTSC,
    9: _REC_2020,
    12: _DISPLAY_P3,
}
_CURVES = {
    1: SRGB_CURVE,
    2: SRGB_CURVE,
    4: Curve(2.2),
    5: Curve(2.8),
    6: SRGB_CURVE,
    8: Curve(1.0),
    13: SRGB_CURVE,
    14: SRGB_CURVE,
    15: SRGB_CURVE,
}


def space_of_code_points(primaries: int, transfer: int) -> tuple[Primaries, Curve] | None:
    """The space of these code points; None where there is none that a picture of 8 bits could be brought into."""
    if primaries not in _PRIMARIES or transfer not in _CURVES:
        return None
    return _PRIMARIES[primaries], _CURVES[transfer]


def profile_of(primaries: Primaries, curve: Curve) -> bytes:
    """An ICC profile, version 4, of that space.

    Raises:
        ValueError: the primaries are no triangle around a white.
    """
    columns = _primaries_in_xyz(primaries).T
    curve_tag = b"para" + struct.pack(">IHH5i", 0, 3, 0, *map(_fixed, (curve.g, curve.a, curve.b, curve.c, curve.d)))
    name = "\0A".encode("latin-1")
    text = b"mluc" + struct.pack(">III2s2sII", 0, 1, 12, b"en", b"US", len(name), 28) + name
    tags = {b"desc": text, b"cprt": text, b"wtpt": _xyz(_D50_XYZ)}
    tags |= {b"%sXYZ" % letter: _xyz(column) for letter, column in zip((b"r", b"g", b"b"), columns, strict=True)}
    tags |= {b"%sTRC" % letter: curve_tag for letter in (b"r", b"g", b"b")}
    return _file(tags)


def _primaries_in_xyz(primaries: Primaries) -> Matrix:
    """Columns: red, green and blue at full, adapted to D50; their sum is D50's white."""
    ends = np.stack([_xyz_of(point) for point in (primaries.red, primaries.green, primaries.blue)], axis=1)
    white = _xyz_of(primaries.white)
    try:
        weights = np.linalg.solve(ends, white)
    except np.linalg.LinAlgError as error:
        raise ValueError("the primaries lie on one line") from error
    cones = _BRADFORD @ white
    if weights.min() <= 0 or cones.min() <= 0:
        raise ValueError("the white is not between the primaries")
    adapted = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50_XYZ) / cones) @ _BRADFORD
    return np.asarray(adapted @ (ends * weights))


def _xyz_of(point: Point) -> Matrix:
    x, y = point
    if not (0 <= x <= 1 and 0 < y <= 1):
        raise ValueError("a chromaticity is not between 0 and 1")
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _fixed(value: float) -> int:
    """s15Fixed16."""
    return round(value * 65536)


def _xyz(values: Matrix) -> bytes:
    return b"XYZ " + struct.pack(">I3i", 0, *map(_fixed, _numbers(values)))


def _numbers(values: Matrix) -> Sequence[float]:
    return [float(value) for value in values]


def _file(tags: dict[bytes, bytes]) -> bytes:
    at = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += padded
    white = struct.pack(">3i", *map(_fixed, _numbers(_D50_XYZ)))
    header = struct.pack(
        ">I4sI4s4s4s12s4s4sI4s4sQI12s4s16s28s",
        at + len(body),
        b"\0" * 4,
        0x04400000,
        b"mntr",
        b"RGB ",
        b"XYZ ",
        struct.pack(">6H", 2026, 1, 1, 0, 0, 0),
        b"acsp",
        b"\0" * 4,
        0,
        b"\0" * 4,
        b"\0" * 4,
        0,
        1,
        white,
        b"\0" * 4,
        bytes(16),
        bytes(28),
    )
    return header + table + body
