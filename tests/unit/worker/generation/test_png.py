"""PNG files with their provenance."""

import io
import json

import numpy as np
from PIL import Image

from worker.generation.png import to_png

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
PROVENANCE = {"prompt": "a café, 猫 <x>", "seed": "3", "adapter": "0f"}


def test_the_picture_and_its_provenance_survive() -> None:
    image = Image.open(io.BytesIO(to_png(PICTURE, PROVENANCE)))
    assert image.format == "PNG"
    assert np.array_equal(np.asarray(image), np.asarray(PICTURE))
    assert json.loads(image.info["palimpsest"]) == PROVENANCE


def test_the_text_is_an_itxt_chunk_in_utf8() -> None:
    data = to_png(PICTURE, PROVENANCE)
    assert data.count(b"iTXtpalimpsest\0") == 1
    assert "猫".encode() in data


def test_the_same_is_the_same_bytes() -> None:
    data = to_png(PICTURE, PROVENANCE)
    assert to_png(PICTURE.copy(), dict(reversed(PROVENANCE.items()))) == data
    assert to_png(PICTURE, PROVENANCE | {"seed": "4"}) != data
