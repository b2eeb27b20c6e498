"""From an uploaded file to the picture that is stored: checked, turned upright, made RGB, bounded, re-encoded.

Re-encoding drops metadata (where a photo was taken), and whatever else a file may carry beside its pixels.
"""

import io
import warnings
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from app.domain.errors import Fault, InvalidImageError
from app.services.image_structure import MAX_EXIF_BYTES, excess

FORMATS = ("PNG", "JPEG", "WEBP")

_MAX_DECODING_BYTES = 160 * 1024 * 1024
_STRIP_PIXELS = 1_000_000
# Noise, which anybody may upload, takes a second at the default level, and a quarter of one at this.
_COMPRESS_LEVEL = 2
_DAMAGED = "the picture in it is damaged"


@dataclass(frozen=True)
class Upload:
    """One file of a request, named as its sender names it; `label` is how problems do."""

    label: str
    file_name: str
    file: BinaryIO


@dataclass(frozen=True)
class Picture:
    """A picture as it is stored."""

    png: bytes
    width: int
    height: int


@dataclass(frozen=True)
class ImageLimits:
    """What a picture may cost."""

    max_pixels: int
    stored_side_pixels: int


def read_picture(upload: Upload, limits: ImageLimits) -> Picture:
    """The picture in a file. Takes at most about `_MAX_DECODING_BYTES` and a few copies of the stored picture.

    Raises:
        InvalidImageError: it is no image of these formats, too large, animated or damaged; the fault names the file.
    """
    if (reason := excess(upload.file)) is not None:
        raise _refusal(upload, reason)
    with warnings.catch_warnings():
        # Pillow's own warnings about large images and odd metadata: limits are checked here, metadata is dropped.
        warnings.simplefilter("ignore")
        image = _open(upload, limits)
        try:
            image = _normalised(image, limits.stored_side_pixels)
        # Damaged files make the decoders raise nearly anything.
        except Exception as error:
            raise _refusal(upload, _DAMAGED) from error
    return Picture(_encode(image), image.width, image.height)


def _open(upload: Upload, limits: ImageLimits) -> Image.Image:
    try:
        image = Image.open(upload.file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _refusal(upload, _too_many(limits.max_pixels)) from error
    except UnidentifiedImageError as error:
        raise _refusal(upload, f"not an image in one of the formats {', '.join(FORMATS)}") from error
    except Exception as error:
        raise _refusal(upload, _DAMAGED) from error
    pixels = image.width * image.height
    if pixels > limits.max_pixels:
        raise _refusal(upload, _too_many(limits.max_pixels))
    # MPO: a JPEG with further pictures behind it, as phones take them; the first one is the photo.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise _refusal(upload, "animated; a concept is made of still images")
    if pixels > (affordable := _MAX_DECODING_BYTES // _decoding_bytes_per_pixel(image)):
        raise _refusal(upload, f"{_too_many(affordable)}, the most for this kind of {image.format}")
    return image


def _decoding_bytes_per_pixel(image: Image.Image) -> int:
    """What the decoder holds at its peak."""
    if image.format == "WEBP":
        # libwebp's two canvases, its answer, and Pillow's picture; four bytes each.
        return 16
    if image.format in ("JPEG", "MPO") and image.info.get("progressive"):
        # All coefficients, of two bytes, until the last scan; what comes out is scaled down already.
        return 2 * len(image.getbands())
    return 4


def _normalised(image: Image.Image, side: int) -> Image.Image:
    # JPEG decodes at a fraction of its size when asked before the pixels are read; a no-op for other formats.
    image.draft("RGB", (side, side))
    image.load()
    small = _flattened(image, max(1, max(image.size) // side))
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    if len(image.info.get("exif", b"")) <= MAX_EXIF_BYTES:
        small.info = image.info
        small = ImageOps.exif_transpose(small)
    return small


def _flattened(image: Image.Image, factor: int) -> Image.Image:
    """RGB of 8 bits on white, each side divided by the factor.

    In strips: a second whole picture of the upload's size, let alone a third, would cost too much memory.
    """
    width, height = (-(-length // factor) for length in image.size)
    flat = Image.new("RGB", (width, height))
    rows = factor * max(1, _STRIP_PIXELS // (image.width * factor))
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        flat.paste(_without_alpha(_with_8_bits(strip)).reduce(factor), (0, top // factor))
    return flat


def _with_8_bits(image: Image.Image) -> Image.Image:
    """Pillow would clip 16 bits at white instead of scaling them."""
    if not image.mode.startswith("I"):
        return image
    return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")


def _without_alpha(image: Image.Image) -> Image.Image:
    """RGB; what is transparent becomes white, as a page would show it."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # A new image of the same pixels: `save` would else copy colour profiles and text chunks along.
    Image.frombytes("RGB", image.size, image.tobytes()).save(buffer, "PNG", compress_level=_COMPRESS_LEVEL)
    return buffer.getvalue()


def _too_many(pixels: int) -> str:
    return f"more than {pixels:,} pixels"


def _refusal(upload: Upload, reason: str) -> InvalidImageError:
    return InvalidImageError(f"{upload.label}: {reason}.", (Fault(field=upload.label, message=reason),))
