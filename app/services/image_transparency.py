"""Which pixels are transparent, exactly: Pillow compares a PNG's transparent colour in units that its pixels lost.

The colour (`tRNS`) is given at the file's own depth. Pillow has grey of 2 and 4 bits scaled to 8, colour of 16 bits cut
to 8, and keeps the number as it was.
"""

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

Key = int | tuple[int, int, int] | None
_GREYS = ("1", "L", "I;16")
# What one step of a grey of so many bits is in Pillow's 8.
_STEPS = {"L;2": 85, "L;4": 17}


class TransparencyError(ValueError):
    """Which pixels are transparent cannot be told; the message says why."""


def transparency_of(image: ImageFile) -> Key:
    """The transparent colour of an opened picture whose pixels are not read yet, in their units; None if it has none.

    Raises:
        TransparencyError: its pixels will not have the depth that its transparent colour is given at.
    """
    key = image.info.get("transparency")
    raw_mode = image.tile[0].args if image.tile else None
    if image.mode in _GREYS and isinstance(key, int):
        return key * _STEPS.get(raw_mode, 1) if isinstance(raw_mode, str) else key
    if image.mode != "RGB" or not isinstance(key, tuple):
        return None
    if raw_mode == "RGB;16B":
        raise TransparencyError("16-bit RGB with a transparent colour; save it with 8 bits, or with an alpha channel")
    return key


def alpha_of(image: Image.Image, key: Key) -> Image.Image | None:
    """0 where the picture, or a part of it, is transparent, 255 where it is not; None where it is not anywhere."""
    if key is not None:
        pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
        is_key = pixels == np.array(key)
        clear = is_key.all(axis=-1) if image.mode == "RGB" else is_key
        return Image.fromarray(np.where(clear, 0, 255).astype(np.uint8))
    if image.mode in ("RGB", *_GREYS) or not image.has_transparency_data:
        return None
    return image.convert("RGBA").getchannel("A")
