"""A few made-up icons in the layout of the real ones, on the disk and in memory."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.pictures import RASTER

NAMES = ("banana", "bus", "fox", "castle")
SETS = ("noto", "twemoji")


def write_tiny_icons(folder: Path) -> Pictures:
    """Blobs: a name has a place of its own, a set a range of colours of its own."""
    generator = np.random.default_rng(0)
    index: list[Picture] = []
    rasters = np.zeros((len(NAMES) * len(SETS), RASTER, RASTER, 4), np.uint8)
    for set_index, set_name in enumerate(SETS):
        for name_index, name in enumerate(NAMES):
            row = len(index)
            top, left = 8 + 64 * (name_index // 2), 8 + 64 * (name_index % 2)
            rasters[row, top : top + 48, left : left + 48, :3] = 120 * set_index + generator.integers(0, 60, 3)
            rasters[row, top : top + 48, left : left + 48, 3] = 255
            index.append(Picture(set_name, name, row))
    np.save(folder / "rasters.npy", rasters)
    (folder / "index.json").write_text(json.dumps([asdict(picture) for picture in index]))
    return Pictures.load(folder)
