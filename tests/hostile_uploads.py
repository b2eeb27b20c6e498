"""A corpus of hostile uploads, generated: what an attacker, a broken phone or an old scanner may send as a picture.

Every case says what must become of it: a refusal that names the file and gives the reason, or a clean picture of a
known size. The same bytes come out each time, so that a failure can be looked at again.
"""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageCms, PngImagePlugin

SECRET = "52.5200N 13.4050E"
"""What no stored picture may still carry: where a photo was taken, or who took it."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ORIENTATION, _DESCRIPTION, _GPS = 0x0112, 0x010E, 0x8825
_PLAIN = (48, 32)
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Hostile:
    """One upload; `size` is that of the clean picture, or None where `reason` tells why it is refused."""

    name: str
    filename: str
    data: bytes
    size: tuple[int, int] | None = None
    reason: str = ""


def corpus() -> list[Hostile]:
    """Every case, each under a name of its own."""
    parts = (_no_pictures(), _other_formats(), _bombs(), _broken_pngs(), _truncated(), _animated(), _polyglots())
    return [case for part in (*parts, _metadata(), _odd_but_honest(), _scans()) for case in part]


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    """A PNG chunk, with a wrong checksum where one is given."""
    sum_ = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", sum_)


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, pixels: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG with any header over any compressed data."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return _SIGNATURE + header + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """That many zero bytes as a zlib stream, in no time: one deflated block of them, again and again."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflate.compress(bytes(_BLOCK)) + deflate.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = last.compress(bytes(count % _BLOCK)) + last.flush()
    # Adler-32 of zeros: the first sum stays 1, the second counts them (RFC 1950).
    return b"\x78\xda" + block * (count // _BLOCK) + rest + struct.pack(">HH", count % 65521, 1)


def black(width: int, height: int, channels: int, colour: int, depth: int = 8) -> bytes:
    """A whole PNG of that size, a thousandth of what it unpacks to."""
    row = 1 + width * channels * depth // 8
    return png(width, height, depth=depth, colour=colour, pixels=zeros(row * height))


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _noise(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    count = width * height * len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, (width, height), random.Random(seed).randbytes(count))


def _picture(form: str, **options: object) -> bytes:
    return _saved(_noise(*_PLAIN), form, **options)


def _no_pictures() -> Iterator[Hostile]:
    not_one = "not an image"
    texts = {
        "empty": b"",
        "one zero byte": b"\0",
        "zero bytes": bytes(100_000),
        "random bytes": random.Random(1).randbytes(100_000),
        "a text": b"just a text, whatever its name says",
        "only the PNG signature": _SIGNATURE,
        "only the JPEG marker": b"\xff\xd8\xff",
        "only the WebP marker": b"RIFF\x04\0\0\0WEBP",
        "a PDF": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
        "HTML": b"<!doctype html><script>fetch('/v1/keys')</script>",
        "an SVG": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><image href="file:///etc/passwd"/></svg>',
        "an SVG of many laughs": b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><svg>&b;</svg>',
        "an MVG of commands": b"push graphic-context\nfill 'url(https://x/\"|id > pwn\")'\npop graphic-context",
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(%pipe%id) (r) file\n",
        "a pickle": b"\x80\x04cposix\nsystem\n(S'id'\ntR.",
        "an ELF file": b"\x7fELF" + bytes(1000),
    }
    for name, data in texts.items():
        yield Hostile(name, "a.png", data, reason=not_one)


def _other_formats() -> Iterator[Hostile]:
    for form in ("GIF", "TIFF", "BMP", "ICO", "PPM", "TGA", "PCX", "JPEG2000"):
        name = f"{form} in disguise"
        yield Hostile(name, "a.png", _picture(form), reason="not an image")
    yield Hostile("a TIFF bomb in disguise", "a.jpg", _tiff_bomb(), reason="not an image")
    gif = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6) + b"\x2c" + bytes(9) + b"\x02\x00\x3b"
    yield Hostile("a GIF bomb", "a.webp", gif, reason="not an image")
    yield Hostile("a JPEG named .png", "a.png", _picture("JPEG"), size=_PLAIN)
    yield Hostile("a WebP named .exe", "a.exe", _picture("WEBP"), size=_PLAIN)


def _tiff_bomb() -> bytes:
    return _saved(Image.new("1", (20_000, 20_000)), "TIFF", compression="group4")


def _bombs() -> Iterator[Hostile]:
    too_many = "pixels"
    yield Hostile("a PNG of 900 million pixels", "a.png", black(30_000, 30_000, 1, 0, 1), reason=too_many)
    yield Hostile("a PNG one row too large", "a.png", black(5000, 5001, 3, 2), reason=too_many)
    yield Hostile("a PNG of 2^31 - 1 squared", "a.png", png(2**31 - 1, 2**31 - 1), reason=too_many)
    yield Hostile("a PNG that unpacks to more than its size", "a.png", png(8, 8, pixels=zeros(1 << 28)), size=(8, 8))
    webp = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\x3f\0\xff\x3f\0"
    yield Hostile("a WebP canvas without its pixels", "a.webp", b"RIFF" + struct.pack("<I", 22) + webp, reason="")
    yield Hostile(
        "a WebP bomb",
        "a.webp",
        _saved(Image.new("RGB", (5200, 5200)), "WEBP", lossless=True, method=0),
        reason=too_many,
    )
    yield Hostile("a JPEG of 65500 squared", "a.jpg", _enlarged_jpeg(65500, 65500), reason=too_many)
    largest = {"grey": (1, 0, 8), "RGB": (3, 2, 8), "RGBA": (4, 6, 8), "16-bit grey": (1, 0, 16), "palette": (1, 3, 8)}
    for name, (channels, colour, depth) in largest.items():
        extra = chunk(b"PLTE", bytes(768)) + chunk(b"tRNS", bytes(256)) if colour == 3 else b""
        pixels = zeros((1 + 5000 * channels * depth // 8) * 5000)
        data = png(5000, 5000, depth=depth, colour=colour, pixels=pixels, extra=extra)
        yield Hostile(f"a black {name} PNG as large as allowed", "a.png", data, size=(2048, 2048))
    noise = Image.effect_noise((5000, 5000), 90).convert("RGB")
    yield Hostile("a noisy JPEG as large as allowed", "a.jpg", _saved(noise, "JPEG", quality=20), size=(2048, 2048))
    noise = _noise(2300, 2300)
    yield Hostile("16 MB of noise", "a.png", _saved(noise, "PNG", compress_level=0), size=(2048, 2048))
    yield Hostile(
        "a JPEG as large as allowed", "a.jpg", _saved(Image.new("RGB", (5000, 5000)), "JPEG"), size=(2048, 2048)
    )
    flat = _saved(Image.new("RGBA", (5000, 5000), (9, 9, 9, 9)), "WEBP", lossless=True, method=0)
    yield Hostile("a WebP whose decoder would take 400 MB", "a.webp", flat, reason="WEBP")
    yield Hostile("a line", "a.png", black(1, 100_000, 3, 2), reason="a side of")
    yield Hostile("a lying line", "a.png", black(100_000, 1, 3, 2), reason="a side of")


def _enlarged_jpeg(width: int, height: int) -> bytes:
    data = bytearray(_picture("JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def _broken_pngs() -> Iterator[Hostile]:
    good = _picture("PNG")
    for name, data in {
        "width 0": png(0, 10),
        "height 0": png(10, 0),
        "a negative width": png(2**32 - 1, 10),
        "no pixels": _SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0)) + chunk(b"IEND", b""),
        "no header": _SIGNATURE + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b""),
        "a header that is too short": _SIGNATURE + chunk(b"IHDR", bytes(5)) + good[33:],
        "bit depth 77": png(8, 8, depth=77, pixels=zlib.compress(bytes(300))),
        "colour type 9": png(8, 8, colour=9, pixels=zlib.compress(bytes(300))),
        "a palette picture without its palette": png(8, 8, colour=3, pixels=b"\x78\x9c\x00"),
        "no zlib stream": png(8, 8, pixels=random.Random(2).randbytes(300)),
        "too few pixels": png(64, 64, pixels=zlib.compress(bytes(100))),
        "a wrong header checksum": _SIGNATURE + chunk(b"IHDR", good[16:29], crc=7) + good[33:],
        "a chunk longer than the file": good[:33] + struct.pack(">I", 2**31 - 1) + good[37:],
        "wrong filter types": png(8, 8, pixels=zlib.compress(b"\x63" * 200)),
    }.items():
        yield Hostile(
            f"a PNG with {name}",
            "a.png",
            data,
            size=_PLAIN if "longer" in name else None,
            reason="" if "longer" in name else "a",
        )
    flipped = bytearray(_picture("PNG"))
    flipped[len(flipped) // 2] ^= 0xFF
    yield Hostile("a PNG with a flipped byte", "a.png", bytes(flipped), reason="damaged")


def _truncated() -> Iterator[Hostile]:
    for form in ("PNG", "JPEG", "WEBP"):
        whole = _saved(_noise(120, 90), form)
        for percent in (2, 25, 50, 75, 95):
            data = whole[: len(whole) * percent // 100]
            yield Hostile(f"{percent}% of a {form}", f"a.{form.lower()}", data, reason=" ")


def _animated() -> Iterator[Hostile]:
    frames = [_noise(*_PLAIN, seed=number) for number in range(3)]
    for form, reason in (("GIF", "not an image"), ("WEBP", "animated"), ("PNG", "animated")):
        data = _saved(frames[0], form, save_all=True, append_images=frames[1:], duration=50)
        yield Hostile(f"an animated {form}", f"a.{form.lower()}", data, reason=reason)
    many = _saved(Image.new("1", (8, 8)), "WEBP", save_all=True, append_images=[_noise(8, 8)] * 2000, duration=1)
    yield Hostile("a WebP of two thousand frames", "a.webp", many, reason="animated")
    control = chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    lying = _picture("PNG")
    yield Hostile(
        "an APNG that claims two billion frames", "a.png", lying[:33] + control + lying[33:], reason="animated"
    )


def _polyglots() -> Iterator[Hostile]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("evil.html", f"<script>{SECRET}</script>")
    behind = archive.getvalue()
    for form in ("PNG", "JPEG", "WEBP"):
        yield Hostile(f"a {form} that is a ZIP too", f"a.{form.lower()}", _picture(form) + behind, size=_PLAIN)
    yield Hostile("a GIFAR", "a.png", _picture("GIF") + behind, reason="not an image")
    script = f"*/=1;alert('{SECRET}')//".encode()
    yield Hostile(
        "a JPEG with HTML in its comment", "a.jpg", _picture("JPEG", comment=b"<script>" + script), size=_PLAIN
    )
    php = f"<?php system('{SECRET}'); ?>".encode()
    good = _picture("PNG")
    yield Hostile(
        "a PNG with PHP in a chunk of its own", "a.php.png", good[:33] + chunk(b"phPp", php) + good[33:], size=_PLAIN
    )
    yield Hostile("a PDF before a PNG", "a.png", b"%PDF-1.7\n" + good, reason="not an image")


def _exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    exif[_DESCRIPTION] = SECRET
    exif.get_ifd(_GPS).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return exif


def _metadata() -> Iterator[Hostile]:
    for form in ("JPEG", "PNG", "WEBP"):
        for orientation in (3, 6, 8):
            size = _PLAIN if orientation == 3 else _PLAIN[::-1]
            data = _picture(form, exif=_exif(orientation))
            yield Hostile(f"a {form} tagged with a place, orientation {orientation}", "a", data, size=size)
    xmp = f"<x:xmpmeta><exif:GPSLatitude>{SECRET}</exif:GPSLatitude></x:xmpmeta>".encode()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for form in ("JPEG", "WEBP"):
        yield Hostile(f"a {form} with XMP", "a", _picture(form, xmp=xmp), size=_PLAIN)
        yield Hostile(f"a {form} with a colour profile", "a", _picture(form, icc_profile=profile), size=_PLAIN)
    bogus = b"\0" * 100 + SECRET.encode()
    yield Hostile("a PNG with a broken colour profile", "a.png", _picture("PNG", icc_profile=bogus), reason="profile")
    yield from _texts()
    broken = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + random.Random(3).randbytes(5000)
    yield from _segments()
    yield Hostile("a JPEG with garbled EXIF", "a.jpg", _picture("JPEG", exif=broken), size=_PLAIN)


def _segments() -> Iterator[Hostile]:
    """Where a decoder takes a step, or a copy, for every few bytes of the file."""
    good = _picture("JPEG")
    million = b"\xff\xfe\0\2" * 1_000_000
    yield Hostile("a JPEG of a million comments", "a.jpg", good[:2] + million + good[2:], reason="segments")
    yield Hostile("a JPEG padded with 4 MB", "a.jpg", good[:2] + b"\xff" * 4_000_000 + good[2:], reason="segments")
    yield Hostile("a JPEG with 4 MB of junk", "a.jpg", good[:20] + bytes(4_000_000) + good[20:], reason="segments")
    tags = _tags_over_one_value(20_000)
    parts = [tags[at : at + 60_000] for at in range(0, len(tags), 60_000)]
    exif = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts)
    yield Hostile("a JPEG of twenty thousand tags", "a.jpg", good[:2] + exif + good[2:], reason="EXIF")
    png_ = _picture("PNG")
    yield Hostile("a PNG of twenty thousand tags", "a.png", png_[:33] + chunk(b"eXIf", tags) + png_[33:], reason="EXIF")
    yield Hostile("a WebP of twenty thousand tags", "a.webp", _picture("WEBP", exif=tags), reason="EXIF")


def _tags_over_one_value(count: int) -> bytes:
    """A TIFF directory whose every tag names the same bytes: a reader copies them for each."""
    size = 6 + 12 * count
    entries = b"".join(struct.pack("<HHII", tag, 7, size, 8) for tag in range(count))
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", count) + entries + bytes(4)


def _texts() -> Iterator[Hostile]:
    text = PngImagePlugin.PngInfo()
    text.add_text("Location", SECRET)
    text.add_itxt("Comment", SECRET * 100 + "жук")
    yield Hostile("a PNG with texts", "a.png", _picture("PNG", pnginfo=text), size=_PLAIN)
    good = _picture("PNG")
    packed = b"Comment\0\0" + zeros(1 << 30)
    yield Hostile("a text of a gigabyte", "a.png", good[:33] + chunk(b"zTXt", packed) + good[33:], reason=" ")
    many = chunk(b"zTXt", b"Comment\0\0" + zeros(1 << 20)) * 200
    yield Hostile("two hundred texts of a megabyte", "a.png", good[:33] + many + good[33:], reason=" ")
    profile = chunk(b"iCCP", b"sRGB\0\0" + zeros(1 << 29))
    yield Hostile("a colour profile of half a gigabyte", "a.png", good[:33] + profile + good[33:], reason="damaged")
    tiny = chunk(b"tEXt", b"a\0b") * 300_000
    yield Hostile("three hundred thousand texts", "a.png", good[:33] + tiny + good[33:], reason="chunks")


def _odd_but_honest() -> Iterator[Hostile]:
    def noisy(mode: str) -> Image.Image:
        return _noise(*_PLAIN, mode)

    yield Hostile("a CMYK JPEG", "a.jpg", _saved(noisy("CMYK"), "JPEG"), reason="CMYK")
    yield Hostile("a grey JPEG", "a.jpg", _saved(noisy("L"), "JPEG"), size=_PLAIN)
    yield Hostile(
        "a 16-bit PNG", "a.png", _saved(Image.frombytes("I;16", (8, 8), bytes(range(128))), "PNG"), size=(8, 8)
    )
    yield Hostile("a 16-bit RGB PNG", "a.png", png(8, 8, depth=16, pixels=zlib.compress(bytes(49 * 8))), size=(8, 8))
    palette = noisy("RGB").quantize(16)
    data = _saved(palette, "PNG", transparency=3)
    yield Hostile("a palette with a transparent colour", "a.png", data, size=_PLAIN)
    yield Hostile(
        "a palette with an alpha each", "a.png", _saved(palette, "PNG", transparency=bytes(range(16))), size=_PLAIN
    )
    yield Hostile("a black and white PNG", "a.png", _saved(noisy("L").convert("1"), "PNG"), size=_PLAIN)
    yield Hostile("a transparent PNG", "a.png", _saved(noisy("RGBA"), "PNG"), size=_PLAIN)
    yield Hostile("a transparent grey PNG", "a.png", _saved(noisy("LA"), "PNG"), size=_PLAIN)
    yield Hostile("one pixel", "a.png", _saved(Image.new("RGB", (1, 1)), "PNG"), reason="a side of")
    yield Hostile("a name of two thousand letters", "a" * 2000 + ".png", b"", reason="not an image")
    yield Hostile("a name that climbs", "../../../etc/passwd", _picture("PNG"), size=_PLAIN)
    yield Hostile("a name that breaks lines", "a\r\nX-Evil: 1.png", _picture("PNG"), size=_PLAIN)
    yield Hostile("a name of many alphabets", "жук-🪲-虫-\u202egnp.exe", b"", reason="not an image")


def _scans() -> Iterator[Hostile]:
    """Each scan of a progressive JPEG is a pass over the whole picture, and takes eight bytes of the file."""
    yield Hostile("a progressive JPEG", "a.jpg", _picture("JPEG", progressive=True), size=_PLAIN)
    large = _saved(Image.new("CMYK", (5000, 5000)), "JPEG", progressive=True)
    yield Hostile("a progressive JPEG whose decoder would take 200 MB", "a.jpg", large, reason="pixels")
    whole = _saved(Image.new("L", (4900, 4900)), "JPEG", progressive=True)
    first = whole.index(b"\xff\xda")
    scan = bytes.fromhex("ffda00080101000000") + b"\x01" + bytes(100)
    yield Hostile("a JPEG of two thousand scans", "a.jpg", whole[:first] + scan * 2000 + whole[first:], reason="scans")
