"""The contact sheet of the report: the first pictures that were measured, none chosen."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from recipes.icons_64.pictures import RESOLUTION

_COLUMNS = 16
_ROWS = 6


def write(images: Sequence[Image.Image], path: Path) -> None:
    """Six rows of sixteen, or fewer."""
    shown = images[: _COLUMNS * _ROWS]
    rows = -(-len(shown) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * RESOLUTION, rows * RESOLUTION))
    for place, image in enumerate(shown):
        row, column = divmod(place, _COLUMNS)
        sheet.paste(image, (column * RESOLUTION, row * RESOLUTION))
    path.parent.mkdir(parents=True, exist_ok=True)
    # 256 colours are a third of the bytes.
    sheet.quantize(256).save(path, optimize=True)
