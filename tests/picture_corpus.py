"""A corpus of honest pictures whose files say something of their pixels, each with its right answer.

The right answers are formulas: curves and matrices as they are published, not a colour engine. The same bytes come out
each time.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from tests.hostile_uploads import chunk

Rgb = tuple[int, int, int]
Matrix = tuple[tuple[float, float, float], ...]

SIZE = (48, 32)
LEFT: Rgb = (200, 100, 50)
RIGHT: Rgb = (50, 100, 200)
_LEFT_AT, _RIGHT_AT = (10, 16), (38, 16)
_HEICS = Path(__file__).parent / "heic"

# Linear light of a space to that of sRGB, ProPhoto's adapted by Bradford: brucelindbloom.com, W3C CSS Color 4.
_P3: Matrix = ((1.22494, -0.22494, 0), (-0.04206, 1.04206, 0), (-0.01964, -0.07864, 1.09828))
_ADOBE: Matrix = ((1.39836, -0.39836, 0), (0, 1, 0), (0, -0.04293, 1.04293))
_REC_2020: Matrix = ((1.66049, -0.58764, -0.07285), (-0.12455, 1.13290, -0.00835), (-0.01815, -0.10058, 1.11873))
_PROPHOTO: Matrix = ((2.03419, -0.72742, -0.30677), (-0.22881, 1.23173, -0.00292), (-0.00856, -0.15327, 1.16184))
_NONE: Matrix = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
# Their primaries in XYZ, adapted to D50, as profiles hold them.
_P3_D50: Matrix = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
_ADOBE_D50: Matrix = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
_PROPHOTO_D50: Matrix = ((0.79767, 0.28804, 0.0), (0.13519, 0.71187, 0.0), (0.03134, 0.00009, 0.82491))
# White, red, green, blue, in hundred thousandths, as PNG's cHRM has them.
_CHRM_P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
_CHRM_SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


@dataclass(frozen=True)
class Told:
    """One upload; `pixels` are the stored ones at some places, or `reason` tells why it is refused."""

    name: str
    data: bytes
    pixels: dict[tuple[int, int], Rgb] = field(default_factory=dict)
    reason: str = ""
    size: tuple[int, int] = SIZE
    # Lossy formats, and profiles of 16 bits, are off by a little.
    tolerance: int = 3


def picture_corpus() -> list[Told]:
    """Every case, each under a name of its own."""
    parts = (_profiles(), _grey_profiles(), _cmyk(), _numbers(), _exif_spaces(), _transparency(), _orientations())
    return [case for part in (*parts, _phones(), _depths()) for case in part]


def srgb_light(value: float) -> float:
    """From a sample (0 to 1) to light, IEC 61966-2-1."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def shown(light: float) -> int:
    """From light to an sRGB byte."""
    light = min(max(light, 0.0), 1.0)
    return round(255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055))


def _converted(rgb: Rgb, matrix: Matrix, light: Callable[[float], float] = srgb_light) -> Rgb:
    linear = [light(value / 255) for value in rgb]
    red, green, blue = (shown(sum(m * v for m, v in zip(row, linear, strict=True))) for row in matrix)
    return red, green, blue


def _halves(matrix: Matrix = _NONE, light: Callable[[float], float] = srgb_light) -> dict[tuple[int, int], Rgb]:
    return {_LEFT_AT: _converted(LEFT, matrix, light), _RIGHT_AT: _converted(RIGHT, matrix, light)}


def halves(mode: str = "RGB") -> Image.Image:
    """The picture itself: two colours side by side."""
    image = Image.new("RGB", SIZE, LEFT)
    image.paste(RIGHT, (SIZE[0] // 2, 0, *SIZE))
    return image.convert(mode)


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    lossy = {"quality": 100, "subsampling": 0} if form == "JPEG" else {"quality": 100} if form == "AVIF" else {}
    lossy = {"lossless": True} if form == "WEBP" else lossy
    image.save(buffer, form, **{**lossy, **options})
    return buffer.getvalue()


def _gamma(power: float) -> Callable[[float], float]:
    return lambda value: value**power


def profile(tags: dict[bytes, bytes], space: bytes, kind: bytes = b"mntr", connection: bytes = b"XYZ ") -> bytes:
    """An ICC profile of version 2 with these tags."""
    names = {b"desc": b"desc" + struct.pack(">II", 0, 2) + b"x\0" + bytes(79), b"cprt": b"text" + bytes(5)}
    tags = {**names, b"wtpt": _xyz(0.96420, 1.0, 0.82491), **tags}
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = at + len(body)
    head = struct.pack(">I4x4s4s4s4s", size, b"\x02\x40\0\0", kind, space, connection)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249)))
    return head + bytes(128 - len(head)) + table + body


def _xyz(*values: float) -> bytes:
    return b"XYZ " + struct.pack(">I3i", 0, *(round(value * 65536) for value in values))


def _curve(light: Callable[[float], float]) -> bytes:
    samples = [round(65535 * light(n / 1023)) for n in range(1024)]
    return b"curv" + struct.pack(">II1024H", 0, 1024, *samples)


def rgb_profile(primaries: Matrix, light: Callable[[float], float]) -> bytes:
    """A profile of a matrix and a curve, with these columns adapted to D50."""
    tags = {b"%sXYZ" % name: _xyz(*column) for name, column in zip((b"r", b"g", b"b"), primaries, strict=True)}
    return profile({**tags, **{b"%sTRC" % name: _curve(light) for name in (b"r", b"g", b"b")}}, b"RGB ")


P3 = rgb_profile(_P3_D50, srgb_light)
_SPACES = {
    "Display P3": (P3, _halves(_P3)),
    "Adobe RGB": (rgb_profile(_ADOBE_D50, _gamma(563 / 256)), _halves(_ADOBE, _gamma(563 / 256))),
    "ProPhoto RGB": (rgb_profile(_PROPHOTO_D50, _gamma(1.8)), _halves(_PROPHOTO, _gamma(1.8))),
}


def _profiles() -> Iterator[Told]:
    for space, (data, pixels) in _SPACES.items():
        for form in ("PNG", "JPEG", "WEBP", "AVIF"):
            yield Told(f"{space} in a {form}", _saved(halves(), form, icc_profile=data), pixels, tolerance=5)
    palette = halves().quantize(4)
    yield Told("Display P3 in a palette", _saved(palette, "PNG", icc_profile=P3), _halves(_P3))
    clear = halves("RGBA")
    clear.putalpha(Image.new("L", SIZE, 255))
    clear.paste((255, 0, 0, 0), (0, 0, 24, 32))
    right = {_LEFT_AT: (255, 255, 255), _RIGHT_AT: _converted(RIGHT, _P3)}
    yield Told("Display P3 beside what is transparent", _saved(clear, "PNG", icc_profile=P3), right)
    grey = Image.new("L", SIZE, 100)
    yield Told("grey under an RGB profile", _saved(grey, "PNG", icc_profile=P3), {_LEFT_AT: (100, 100, 100)})
    mismatch = "colour profile"
    yield Told("RGB under a CMYK profile", _saved(halves(), "JPEG", icc_profile=_CMYK), reason=mismatch)
    yield Told("CMYK under an RGB profile", _saved(halves("CMYK"), "JPEG", icc_profile=P3), reason=mismatch)
    yield Told("RGB under a grey profile", _saved(halves(), "JPEG", icc_profile=_grey_profile(1.8)), reason=mismatch)
    link = profile({}, b"RGB ", b"link")
    yield Told("a profile that links devices", _saved(halves(), "PNG", icc_profile=link), reason=mismatch)
    for name, data in {
        "cut off": P3[:200],
        "empty but for its head": profile({}, b"RGB "),
        "zeros": bytes(500),
    }.items():
        yield Told(f"a profile that is {name}", _saved(halves(), "WEBP", icc_profile=data), reason=mismatch)


def _grey_profile(power: float) -> bytes:
    return profile({b"kTRC": _curve(_gamma(power))}, b"GRAY")


def _grey(value: int) -> Rgb:
    return value, value, value


def _grey_profiles() -> Iterator[Told]:
    for power in (1.0, 1.8):
        data = _grey_profile(power)
        right = {_LEFT_AT: _grey(shown((100 / 255) ** power))}
        for form in ("PNG", "JPEG"):
            image = _saved(Image.new("L", SIZE, 100), form, icc_profile=data)
            yield Told(f"grey of gamma {power} in a {form}", image, right)
    deep = _saved(Image.new("I;16", SIZE, 100 * 257), "PNG", icc_profile=_grey_profile(1.0))
    yield Told("16-bit grey of gamma 1", deep, {_LEFT_AT: _grey(shown(100 / 255))})


def _cmyk_profile() -> bytes:
    """What ink looks like, in Lab: paper is white, cyan is cyan, everything with black is black."""
    looks = {(0, 0, 0, 0): (100, 0, 0), (1, 0, 0, 0): _CYAN, (0, 1, 0, 0): _MAGENTA}
    corners = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    table = b"".join(_lab8(looks.get(ink, (0, 0, 0) if ink[3] else (30, 0, 0))) for ink in corners)
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 if n % 4 == 0 else 0 for n in range(9)))
    lut = b"mft1" + struct.pack(">IBBBx", 0, 4, 3, 2) + matrix + identity * 4 + table + identity * 3
    return profile({b"A2B0": lut}, b"CMYK", b"prtr", b"Lab ")


_CYAN, _MAGENTA = (62, -31, -48), (48, 70, -3)


def _lab8(lab: tuple[int, int, int]) -> bytes:
    return bytes((round(lab[0] * 255 / 100), lab[1] + 128, lab[2] + 128))


def _lab_to_srgb(lab: tuple[int, int, int]) -> Rgb:
    """Lab (D50) to sRGB: CIE 15, then Bradford and the sRGB matrix in one."""
    fy = (lab[0] + 16) / 116
    cubes = [
        f**3 if f > 6 / 29 else 3 * (6 / 29) ** 2 * (f - 4 / 29) for f in (fy + lab[1] / 500, fy, fy - lab[2] / 200)
    ]
    xyz = [cube * white for cube, white in zip(cubes, (0.9642, 1.0, 0.8249), strict=True)]
    to_srgb = ((3.13386, -1.61687, -0.49062), (-0.97877, 1.91614, 0.03345), (0.07195, -0.22899, 1.40524))
    red, green, blue = (shown(sum(m * v for m, v in zip(row, xyz, strict=True))) for row in to_srgb)
    return red, green, blue


_CMYK = _cmyk_profile()


def _cmyk() -> Iterator[Told]:
    for name, ink, lab in (
        ("paper", (0, 0, 0, 0), (100, 0, 0)),
        ("cyan", (255, 0, 0, 0), _CYAN),
        ("magenta", (0, 255, 0, 0), _MAGENTA),
        ("black", (0, 0, 0, 255), (0, 0, 0)),
    ):
        image = _saved(Image.new("CMYK", SIZE, ink), "JPEG", icc_profile=_CMYK)
        yield Told(f"CMYK {name} by its profile", image, {_LEFT_AT: _lab_to_srgb(lab)}, tolerance=6)
    yield Told("CMYK without a profile", _saved(halves("CMYK"), "JPEG"), reason="CMYK")


def _with_chunks(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with further chunks behind its header."""
    return data[:33] + b"".join(chunk(name, content) for name, content in chunks) + data[33:]


def _numbers() -> Iterator[Told]:
    """Spaces that are named by numbers: PNG's own chunks, and code points."""
    plain, g = _saved(halves(), "PNG"), (b"gAMA", struct.pack(">I", 100000))
    usual, mac = (b"gAMA", struct.pack(">I", 45455)), (b"gAMA", struct.pack(">I", 55556))
    p3, srgb = (b"cHRM", struct.pack(">8I", *_CHRM_P3)), (b"cHRM", struct.pack(">8I", *_CHRM_SRGB))
    says_srgb = (b"sRGB", b"\0")
    nobody = (b"cHRM", struct.pack(">8I", *[20000] * 8))
    yield Told("a PNG of gamma 1", _with_chunks(plain, g), _halves(light=_gamma(1.0)))
    yield Told("a PNG of gamma 1/1.8", _with_chunks(plain, mac), _halves(light=_gamma(1.8)))
    yield Told("a PNG of gamma 1/2.2", _with_chunks(plain, usual), _halves(), tolerance=0)
    yield Told("a PNG of sRGB's numbers", _with_chunks(plain, usual, srgb), _halves(), tolerance=0)
    yield Told("a PNG of P3's chromaticities", _with_chunks(plain, p3), _halves(_P3))
    yield Told("a PNG of P3's chromaticities at gamma 1", _with_chunks(plain, g, p3), _halves(_P3, _gamma(1.0)))
    yield Told("a PNG that says sRGB and other numbers", _with_chunks(plain, g, p3, says_srgb), _halves(), tolerance=0)
    yield Told("a PNG of impossible chromaticities", _with_chunks(plain, nobody), reason="chromaticities")
    yield Told("a PNG of gamma 0", _with_chunks(plain, (b"gAMA", bytes(4))), reason="gamma")
    profiled = _saved(halves(), "PNG", icc_profile=P3)
    yield Told("a PNG with a profile and a gamma", _with_chunks(profiled, g), _halves(_P3))
    for name, points, matrix in (("sRGB", (1, 13), _NONE), ("P3", (12, 13), _P3), ("Rec. 2020", (9, 1), _REC_2020)):
        said = (b"cICP", bytes((*points, 0, 1)))
        yield Told(f"a PNG with code points of {name}", _with_chunks(plain, said), _halves(matrix), tolerance=5)
        avif = _recoded(_saved(halves(), "AVIF"), points)
        yield Told(f"an AVIF with code points of {name}", avif, _halves(matrix), tolerance=6)
    for name, transfer in (("PQ", 16), ("HLG", 18)):
        said = (b"cICP", bytes((9, transfer, 0, 1)))
        yield Told(f"a PNG of {name}", _with_chunks(plain, said), reason="HDR")
        yield Told(f"an AVIF of {name}", _recoded(_saved(halves(), "AVIF"), (9, transfer)), reason="HDR")
    over = _with_chunks(
        _saved(halves(), "PNG", icc_profile=_SPACES["ProPhoto RGB"][0]), (b"cICP", bytes((12, 13, 0, 1)))
    )
    yield Told("a PNG whose code points stand above its profile", over, _halves(_P3), tolerance=5)


def _recoded(avif: bytes, points: tuple[int, int]) -> bytes:
    """The AVIF with other code points in its `colr` box."""
    at = avif.index(b"colrnclx") + 8
    return avif[:at] + struct.pack(">HH", *points) + avif[at + 4 :]


def _exif_spaces() -> Iterator[Told]:
    adobe = _halves(_ADOBE, _gamma(563 / 256))
    for name, space, interoperability, pixels in (
        ("R03", 65535, "R03", adobe),
        ("colour space 2", 2, "", adobe),
        ("R98", 1, "R98", _halves()),
        ("uncalibrated", 65535, "", _halves()),
    ):
        exif = Image.Exif()
        details = exif.get_ifd(0x8769)
        details[0xA001] = space
        if interoperability:
            details[0xA005] = {1: interoperability}
        yield Told(f"a camera's JPEG that says {name}", _saved(halves(), "JPEG", exif=exif), pixels, tolerance=5)


def grey_png(depth: int, rows: list[list[int]], transparent: int | None) -> bytes:
    """A grey PNG of any depth, each row repeated eight times and each pixel too; the key at the file's own depth."""
    lines = b""
    for row in rows:
        wide = [value for value in row for _ in range(8)]
        bits = "".join(format(value, f"0{depth}b") for value in wide)
        line = b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
        lines += line * 8
    size = (8 * len(rows[0]), 8 * len(rows))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, 0, 0, 0, 0))
    key = b"" if transparent is None else chunk(b"tRNS", struct.pack(">H", transparent))
    return b"\x89PNG\r\n\x1a\n" + header + key + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def _transparency() -> Iterator[Told]:
    """A key is compared exactly, at the depth of the file."""
    for depth in (1, 2, 4, 8, 16):
        most = 2**depth - 1
        key = most // 3 if depth > 1 else 0
        row = [key, most, 0, key + 1] if depth > 1 else [0, 1, 1, 0]
        right = {}
        for place, value in enumerate(row):
            bright = value >> 8 if depth == 16 else round(value * 255 / most)
            right[(8 * place + 4, 4)] = (255, 255, 255) if value == key else _grey(bright)
        size = (32, 16)
        name = f"{depth}-bit grey with a transparent colour"
        yield Told(name, grey_png(depth, [row, row], key), right, size=size, tolerance=0)
    near = {(4, 4): (255, 255, 255), (12, 4): _grey(128), (20, 4): _grey(128)}
    data = grey_png(16, [[0x8000, 0x8001, 0x80FF], [0, 0, 0]], 0x8000)
    yield Told("16-bit greys beside the transparent one", data, near, size=(24, 16), tolerance=0)
    absent = {(4, 4): _grey(128), (12, 4): _grey(255)}
    data = grey_png(16, [[0x8000, 0xFFFF], [0, 0]], 0x0080)
    yield Told("a transparent colour that only its low byte has", data, absent, size=(16, 16), tolerance=0)
    rgb = _saved(halves(), "PNG", transparency=LEFT)
    yield Told("RGB with a transparent colour", rgb, {_LEFT_AT: (255, 255, 255), _RIGHT_AT: RIGHT}, tolerance=0)
    deep = _png_of(np.full((32, 48, 3), 0x1234, ">u2"), 2, chunk(b"tRNS", struct.pack(">3H", 0x1234, 0x1234, 0x1234)))
    yield Told("16-bit RGB with a transparent colour", deep, reason="transparent colour")
    palette = halves().quantize(4)
    index = int(np.asarray(palette)[_LEFT_AT[1], _LEFT_AT[0]])
    half = bytes(128 if n == index else 255 for n in range(4))
    red, green, blue = (round((value * 128 + 255 * 127) / 255) for value in LEFT)
    yield Told(
        "a palette of which one colour is half there",
        _saved(palette, "PNG", transparency=half),
        {_LEFT_AT: (red, green, blue)},
    )


def _png_of(pixels: np.ndarray, colour: int, extra: bytes = b"") -> bytes:
    height, width = pixels.shape[:2]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def _orientations() -> Iterator[Told]:
    """Where the left half goes (EXIF 2.32, 4.6.4)."""
    left_at = {1: _LEFT_AT, 2: _RIGHT_AT, 3: _RIGHT_AT, 4: _LEFT_AT, 5: (16, 10), 6: (16, 10), 7: (16, 38), 8: (16, 38)}
    for orientation, place in left_at.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        size = SIZE if orientation < 5 else SIZE[::-1]
        for form in ("JPEG", "PNG", "WEBP", "AVIF"):
            data = _saved(halves(), form, exif=exif)
            yield Told(f"a {form} of orientation {orientation}", data, {place: LEFT}, size=size, tolerance=5)
    said = PngImagePlugin.PngInfo()
    xmp = '<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    said.add_itxt("XML:com.adobe.xmp", xmp)
    yield Told("a PNG turned by XMP", _saved(halves(), "PNG", pnginfo=said), {(16, 10): LEFT}, size=SIZE[::-1])


def _phones() -> Iterator[Told]:
    heics = {name: (_HEICS / f"{name}.heic").read_bytes() for name in ("srgb", "p3", "pq", "turned", "album", "clear")}
    yield Told("a HEIC", heics["srgb"], _halves(), tolerance=6)
    yield Told("a HEIC of Display P3", heics["p3"], _halves(_P3), tolerance=6)
    yield Told("a HEIC of PQ", heics["pq"], reason="HDR")
    yield Told("a HEIC that is turned", heics["turned"], {(16, 10): LEFT}, size=SIZE[::-1], tolerance=6)
    yield Told("a HEIC with a second picture", heics["album"], _halves(), tolerance=6)
    yield Told("a transparent HEIC", heics["clear"], {_LEFT_AT: (255, 255, 255)})
    yield Told("half a HEIC", heics["srgb"][:350], reason="a")
    clear = halves("RGBA")
    clear.putalpha(0)
    yield Told("a transparent AVIF", _saved(clear, "AVIF"), {_LEFT_AT: (255, 255, 255)})
    yield Told("half an AVIF", _saved(halves(), "AVIF")[:200], reason="a")
    frames = [halves(), Image.new("RGB", SIZE)]
    animated = _saved(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    yield Told("an animated AVIF", animated, reason="animated")


def _depths() -> Iterator[Told]:
    deep = _png_of(np.full((32, 48, 3), np.array([0xC8FF, 0x6400, 0x3280]), ">u2"), 2)
    yield Told("16-bit RGB", deep, {_LEFT_AT: LEFT}, tolerance=1)
    half = _png_of(np.full((32, 48, 4), np.array([0, 0, 0, 0x8000]), ">u2"), 6)
    yield Told("16-bit RGBA, half transparent", half, {_LEFT_AT: _grey(127)}, tolerance=1)
    both = _png_of(np.full((32, 48, 2), np.array([0, 0x8000]), ">u2"), 4)
    yield Told("16-bit grey, half transparent", both, {_LEFT_AT: _grey(127)}, tolerance=1)
