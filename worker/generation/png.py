"""Pictures as PNG files that say where they come from."""

import io
import json
from collections.abc import Mapping

from PIL import Image
from PIL.PngImagePlugin import PngInfo

KEY = "palimpsest"


def to_png(image: Image.Image, provenance: Mapping[str, str]) -> bytes:
    """The same bytes for the same picture and provenance; the latter is JSON in the iTXt chunk `palimpsest`."""
    texts = PngInfo()
    texts.add_itxt(KEY, json.dumps(dict(provenance), ensure_ascii=False, sort_keys=True))
    stream = io.BytesIO()
    image.save(stream, format="PNG", pnginfo=texts)
    return stream.getvalue()
