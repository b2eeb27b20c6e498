"""What a file says of its colours, applied: whatever its space is, what is stored is sRGB.

A colour profile counts first, then code points (in a PNG these come first), then PNG's `sRGB`, `gAMA` and `cHRM`, then
the tags by which cameras name Adobe RGB. A file that says nothing is sRGB. What says something that cannot be applied
is refused: dropped in silence, it would teach wrong colours.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image, ImageCms

from app.services.image_spaces import (
    ADOBE_CURVE,
    ADOBE_RGB,
    REC_709,
    SRGB_CURVE,
    Curve,
    Primaries,
    profile_of,
    space_of_code_points,
)

# CMYK profiles of printers have one or two megabytes.
_MAX_PROFILE_BYTES = 8 * 1024 * 1024
_CLASSES = ("mntr", "scnr", "prtr", "spac")
_MODE_OF = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_NAME_OF = {"RGB": "RGB", "L": "grey", "CMYK": "CMYK"}
_SRGB_GAMMAS = (0.45, 0.46)
_EXIF_COLOUR_SPACE, _EXIF_INTEROPERABILITY = 0xA001, 0xA005
_EXIF_ADOBE_RGB = 2

Info = Mapping[str | tuple[int, int], object]


class ColourError(ValueError):
    """What the file says of its colours cannot be applied; the message says why."""


@dataclass(frozen=True)
class Colours:
    """From the colours of one file to sRGB."""

    mode: str
    transform: ImageCms.ImageCmsTransform | None

    def applied(self, image: Image.Image) -> Image.Image:
        """RGB, in sRGB; `image` has 8 bits and no transparency."""
        if self.transform is None:
            return image.convert("RGB")
        converted = ImageCms.applyTransform(image.convert(self.mode), self.transform)
        assert converted is not None
        return converted


def colours_of(image: Image.Image, code_points: tuple[int, int] | None, mode: str) -> Colours:
    """What the opened file says, for pixels of `mode` (L, RGB or CMYK).

    `code_points` are those of H.273 in the file, primaries and transfer, if it has any.

    Raises:
        ColourError: it cannot be applied.
    """
    # Code points of a PNG stand above its profile, those of AVIF and HEIC below.
    is_outdone = image.format == "PNG" and code_points is not None
    profile = None if is_outdone else image.info.get("icc_profile")
    if not profile:
        profile = _profile_of_numbers(image, code_points)
    if not profile:
        if mode == "CMYK":
            raise ColourError("CMYK without a colour profile, which nobody can know the colours of; send it as sRGB")
        return Colours("RGB", None)
    return _by_profile(profile, mode)


def _by_profile(data: object, mode: str) -> Colours:
    if not isinstance(data, bytes) or len(data) > _MAX_PROFILE_BYTES:
        raise ColourError(f"its colour profile has more than {_MAX_PROFILE_BYTES:,} bytes")
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        space, kind = profile.profile.xcolor_space, profile.profile.device_class
    except (OSError, ImageCms.PyCMSError) as error:
        raise ColourError("its colour profile cannot be read; send the picture as sRGB") from error
    wanted = _MODE_OF.get(space)
    # Grey pixels are RGB ones whose three are equal.
    fits = wanted == mode or (wanted == "RGB" and mode == "L")
    if wanted is None or kind not in _CLASSES or not fits:
        raise ColourError(f"its colour profile is one for {space.strip()}, its pixels are {_NAME_OF[mode]}")
    try:
        transform = ImageCms.buildTransform(
            profile,
            ImageCms.createProfile("sRGB"),
            wanted,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (OSError, ImageCms.PyCMSError) as error:
        raise ColourError("its colour profile cannot be applied; send the picture as sRGB") from error
    return Colours(wanted, transform)


def _profile_of_numbers(image: Image.Image, code_points: tuple[int, int] | None) -> bytes | None:
    """The space that is named by numbers; None for sRGB."""
    if code_points is not None:
        space = space_of_code_points(*code_points)
        if space is None:
            named = "primaries {} and transfer {}".format(*code_points)
            raise ColourError(f"its colours ({named}) are HDR or unknown; send the picture as sRGB")
        return _unless_srgb(*space)
    if image.format == "PNG":
        return _profile_of_png(image.info)
    return profile_of(ADOBE_RGB, ADOBE_CURVE) if _says_adobe_rgb(image) else None


def _profile_of_png(info: Info) -> bytes | None:
    gamma, points = info.get("gamma"), info.get("chromaticity")
    if "srgb" in info or (gamma is None and points is None):
        return None
    curve, primaries = SRGB_CURVE, REC_709
    if isinstance(gamma, float) and not _SRGB_GAMMAS[0] <= gamma <= _SRGB_GAMMAS[1]:
        if not 0.1 <= gamma <= 10:
            raise ColourError(f"its gamma, {gamma:g}, is not one of a picture")
        curve = Curve(1 / gamma)
    if isinstance(points, tuple):
        primaries = Primaries(points[:2], points[2:4], points[4:6], points[6:8])
    try:
        return _unless_srgb(primaries, curve)
    except ValueError as error:
        raise ColourError("its chromaticities are those of no light; send the picture as sRGB") from error


def _unless_srgb(primaries: Primaries, curve: Curve) -> bytes | None:
    ours = (*REC_709.white, *REC_709.red, *REC_709.green, *REC_709.blue)
    theirs = (*primaries.white, *primaries.red, *primaries.green, *primaries.blue)
    is_ours = all(abs(a - b) < 0.001 for a, b in zip(ours, theirs, strict=True))
    return None if is_ours and curve == SRGB_CURVE else profile_of(primaries, curve)


def _says_adobe_rgb(image: Image.Image) -> bool:
    """Cameras tag Adobe RGB by `R03` (DCF 2.0), or by a colour space of 2, which many write."""
    exif = image.getexif()
    details = exif.get_ifd(0x8769)
    if details.get(_EXIF_COLOUR_SPACE) == _EXIF_ADOBE_RGB:
        return True
    return exif.get_ifd(_EXIF_INTEROPERABILITY).get(1) == "R03"
