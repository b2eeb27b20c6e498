"""From an uploaded file to the picture that is stored: checked, turned upright, made RGB, bounded, re-encoded.

Re-encoding drops metadata (where a photo was taken), and whatever else a file may carry beside its pixels.
"""

import io
import warnings
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, ImageOps

from app.domain.errors import Fault, InvalidImageError

FORMATS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True)
class Upload:
    """One file of a request; `label` is how problems name it."""

    label: str
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
    """The picture in a file.

    Raises:
        InvalidImageError: it is no image of these formats, too large, animated or damaged; the fault names the file.
    """
    with warnings.catch_warnings():
        # Pillow's own warning about large images: our limit is checked before any pixel is decoded.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = _open(upload, limits)
        try:
            image = _normalised(image, limits.stored_side_pixels)
        # Damaged files make the decoders raise nearly anything.
        except Exception as error:
            raise _refusal(upload, "the picture in it is damaged") from error
    return Picture(_encode(image), image.width, image.height)


def _open(upload: Upload, limits: ImageLimits) -> Image.Image:
    try:
        image = Image.open(upload.file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _refusal(upload, _too_many(limits)) from error
    except Exception as error:
        raise _refusal(upload, f"not an image in one of the formats {', '.join(FORMATS)}") from error
    if image.width * image.height > limits.max_pixels:
        raise _refusal(upload, _too_many(limits))
    # MPO: a JPEG with further pictures behind it, as phones take them; the first one is the photo.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise _refusal(upload, "animated; a concept is made of still images")
    return image


def _normalised(image: Image.Image, side: int) -> Image.Image:
    # JPEG decodes at a fraction of its size when asked before the pixels are read; a no-op for other formats.
    image.draft("RGB", (side, side))
    image = _without_alpha(_with_8_bits(ImageOps.exif_transpose(image)))
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


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
    Image.frombytes("RGB", image.size, image.tobytes()).save(buffer, "PNG")
    return buffer.getvalue()


def _too_many(limits: ImageLimits) -> str:
    return f"more than {limits.max_pixels:,} pixels"


def _refusal(upload: Upload, reason: str) -> InvalidImageError:
    return InvalidImageError(f"{upload.label}: {reason}.", (Fault(field=upload.label, message=reason),))
