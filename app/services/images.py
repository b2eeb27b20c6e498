"""From an uploaded file to the picture that is stored: checked, turned upright, made sRGB, bounded, re-encoded.

Re-encoding drops metadata (where a photo was taken), and whatever else a file may carry beside its pixels. What it
says of the pixels is applied before: orientation, colours, transparency.
"""

import io
import warnings
from dataclasses import dataclass
from typing import BinaryIO

from pi_heif import open_heif, register_heif_opener
from PIL import Image, ImageOps, ImageStat, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from app.domain.errors import Fault, InvalidImageError
from app.services.image_colour import ColourError, Colours, colours_of
from app.services.image_structure import MAX_EXIF_BYTES, code_points_of_png, excess
from app.services.image_transparency import Key, TransparencyError, alpha_of, transparency_of

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "HEIF")
_NAMES = "PNG, JPEG, WebP, AVIF, HEIC"
# One file of these may hold more pictures: the photo is the first one, or the one that the file calls so.
_ALBUMS = ("MPO", "HEIF")

_MAX_DECODING_BYTES = 160 * 1024 * 1024
# What phones write: their decoders can neither scale nor stop half-way, and 24 megapixels are usual.
_MAX_DECODING_BYTES_OF = {"AVIF": 288 * 1024 * 1024, "HEIF": 288 * 1024 * 1024}
_STRIP_PIXELS = 1_000_000
_LEAST_SIDE_PIXELS = 8
_THUMBNAIL = (16, 16)
# Noise, which anybody may upload, takes a second at the default level, and a quarter of one at this.
_COMPRESS_LEVEL = 2
_DAMAGED = "the picture in it is damaged"

register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


@dataclass(frozen=True)
class Upload:
    """One file of a request, named as its sender names it; `label` is how problems do."""

    label: str
    file_name: str
    file: BinaryIO


@dataclass(frozen=True)
class Picture:
    """A picture as it is stored.

    `thumbnail` has 16 x 16 RGB pixels; `deviation` is the largest standard deviation of a channel, of 255.
    """

    png: bytes
    width: int
    height: int
    thumbnail: bytes
    deviation: float


@dataclass(frozen=True)
class ImageLimits:
    """What a picture may cost. A JPEG is scaled while it is decoded, so its file may have more pixels than others."""

    max_pixels: int
    stored_side_pixels: int
    max_jpeg_pixels: int


def read_picture(upload: Upload, limits: ImageLimits) -> Picture:
    """The picture in a file. Takes about `_MAX_DECODING_BYTES` at most, and a few copies of the stored picture.

    Raises:
        InvalidImageError: it is no image of these formats, too large, too small, animated or damaged, or says of its
            pixels what cannot be applied; the fault names the file.
    """
    if (reason := excess(upload.file)) is not None:
        raise _refusal(upload, reason)
    with warnings.catch_warnings():
        # Pillow's own warnings about large images and odd metadata: limits are checked here, metadata is dropped.
        warnings.simplefilter("ignore")
        image = _open(upload, limits)
        try:
            small = _normalised(image, limits.stored_side_pixels, _code_points(upload, image))
        except (ColourError, TransparencyError) as error:
            raise _refusal(upload, str(error)) from error
        # Damaged files make the decoders raise nearly anything.
        except Exception as error:
            raise _refusal(upload, _DAMAGED) from error
    thumbnail = small.resize(_THUMBNAIL, Image.Resampling.BOX).tobytes()
    return Picture(_encode(small), small.width, small.height, thumbnail, max(ImageStat.Stat(small).stddev))


def _open(upload: Upload, limits: ImageLimits) -> ImageFile:
    try:
        image = Image.open(upload.file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _refusal(upload, _too_many(limits.max_pixels)) from error
    except UnidentifiedImageError as error:
        raise _refusal(upload, f"not an image in one of the formats {_NAMES}") from error
    except Exception as error:
        raise _refusal(upload, _DAMAGED) from error
    if (reason := _unacceptable(image, limits)) is not None:
        raise _refusal(upload, reason)
    return image


def _unacceptable(image: ImageFile, limits: ImageLimits) -> str | None:
    is_jpeg = image.format in ("JPEG", "MPO")
    pixels, most = image.width * image.height, limits.max_jpeg_pixels if is_jpeg else limits.max_pixels
    if pixels > most:
        return _too_many(most)
    if min(image.size) < _LEAST_SIDE_PIXELS:
        return f"a side of less than {_LEAST_SIDE_PIXELS} pixels shows nothing"
    if image.format not in _ALBUMS and getattr(image, "n_frames", 1) > 1:
        return "animated; a concept is made of still images"
    if len(image.info.get("exif") or b"") > MAX_EXIF_BYTES:
        return f"carrying more than {MAX_EXIF_BYTES:,} bytes of EXIF"
    if is_jpeg:
        # It decodes at a fraction of its size when asked before the pixels are read.
        image.draft(None, _fitted(image.size, limits.stored_side_pixels))
    most_bytes = _MAX_DECODING_BYTES_OF.get(image.format or "", _MAX_DECODING_BYTES)
    if (cost := _decoding_bytes(image, pixels)) > most_bytes:
        affordable = pixels * most_bytes // cost
        return f"{_too_many(affordable)}, the most for this kind of {image.format}"
    return None


def _fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """As large as is stored, so that no more is decoded than that takes."""
    longer = max(size)
    return -(-size[0] * side // longer), -(-size[1] * side // longer)


def _decoding_bytes(image: ImageFile, pixels: int) -> int:
    """What the decoder holds at its peak; `pixels` are the file's, those of `image` what comes out."""
    if image.format in ("AVIF", "HEIF") and image.mode == "RGB":
        # Measured: 7 of a HEIC, 9 of an AVIF, 11 where colours have all their samples.
        return 12 * pixels
    if image.format in ("WEBP", "AVIF", "HEIF"):
        # The codec's canvases (libwebp's two), its answer, and Pillow's picture; four bytes each.
        return 16 * pixels
    decoded = 4 * image.width * image.height
    if isinstance(image, JpegImageFile) and image.info.get("progressive"):
        # All coefficients, of two bytes, until the last scan. Colours have fewer where they are subsampled.
        shares = [h * v for _, h, v, _ in image.layer]
        return decoded + 2 * pixels * sum(shares) // max(shares)
    return decoded


def _code_points(upload: Upload, image: ImageFile) -> tuple[int, int] | None:
    """Primaries and transfer (H.273), where the file says them."""
    if image.format == "PNG":
        position = upload.file.tell()
        try:
            upload.file.seek(0)
            return code_points_of_png(upload.file)
        finally:
            upload.file.seek(position)
    if image.format not in ("AVIF", "HEIF"):
        return None
    # Pillow does not tell those of an AVIF; libheif reads them from the boxes that both formats share.
    info = image.info if image.format == "HEIF" else open_heif(upload.file, convert_hdr_to_8bit=True).info
    said = info.get("nclx_profile")
    return (int(said["color_primaries"]), int(said["transfer_characteristics"])) if said else None


def _normalised(image: ImageFile, side: int, code_points: tuple[int, int] | None) -> Image.Image:
    key = transparency_of(image)
    colours = colours_of(image, code_points, _COLOUR_MODES.get(image.mode, "RGB"))
    image.load()
    small = _flattened(image, colours, key, max(1, max(image.size) // side))
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    small.info = image.info
    return ImageOps.exif_transpose(small)


_COLOUR_MODES = {"1": "L", "L": "L", "LA": "L", "I;16": "L", "CMYK": "CMYK"}


def _flattened(image: Image.Image, colours: Colours, key: Key, factor: int) -> Image.Image:
    """sRGB of 8 bits on white, each side divided by the factor.

    In strips: a second whole picture of the upload's size, let alone a third, would cost too much memory.
    """
    width, height = (-(-length // factor) for length in image.size)
    flat = Image.new("RGB", (width, height))
    rows = factor * max(1, _STRIP_PIXELS // (image.width * factor))
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        # What is transparent becomes white, as a page would show it.
        colour, alpha = colours.applied(_opaque(strip)), alpha_of(strip, key)
        if alpha is not None:
            colour = Image.composite(colour, Image.new("RGB", colour.size, "white"), alpha)
        flat.paste(colour.reduce(factor), (0, top // factor))
    return flat


def _opaque(image: Image.Image) -> Image.Image:
    """L, RGB or CMYK of 8 bits, whatever lies on it of transparency. Pillow would clip 16 bits at white."""
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.mode == "CMYK":
        return image
    return image.convert(_COLOUR_MODES.get(image.mode, "RGB"))


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # A new image of the same pixels: `save` would else copy colour profiles and text chunks along.
    Image.frombytes("RGB", image.size, image.tobytes()).save(buffer, "PNG", compress_level=_COMPRESS_LEVEL)
    return buffer.getvalue()


def _too_many(pixels: int) -> str:
    return f"more than {pixels:,} pixels"


def _refusal(upload: Upload, reason: str) -> InvalidImageError:
    return InvalidImageError(f"{upload.label}: {reason}.", (Fault(field=upload.label, message=reason),))
