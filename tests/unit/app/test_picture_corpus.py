"""What a picture's file says of its pixels is applied, or the picture is refused: a corpus with right answers."""

import io

import numpy as np
import pytest
from PIL import Image

from app.domain.errors import InvalidImageError
from app.services.images import ImageLimits, Upload, read_picture
from tests.picture_corpus import Told, picture_corpus

CORPUS = picture_corpus()
LIMITS = ImageLimits(max_pixels=1_000_000, stored_side_pixels=64, max_jpeg_pixels=60_000_000)


def read(data: bytes) -> Image.Image:
    picture = read_picture(Upload("images[0]: a", "a", io.BytesIO(data)), LIMITS)
    return Image.open(io.BytesIO(picture.png))


def test_the_corpus_is_large_and_names_each_case_once() -> None:
    assert len({case.name for case in CORPUS}) == len(CORPUS) >= 100


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_a_picture_is_what_its_file_says(case: Told) -> None:
    if case.reason:
        with pytest.raises(InvalidImageError, match=case.reason):
            read(case.data)
        return
    image = read(case.data)
    assert image.size == case.size
    assert not image.info.get("icc_profile")
    for place, right in case.pixels.items():
        found = np.asarray(image)[place[1], place[0]].astype(int)
        assert np.abs(found - right).max() <= case.tolerance, (place, found, right)


def test_a_jpeg_of_fifty_megapixels_is_scaled_while_it_is_decoded() -> None:
    data = io.BytesIO()
    large = Image.new("RGB", (8200, 6150), (200, 100, 50))
    large.save(data, "JPEG", quality=85)
    image = read(data.getvalue())
    assert image.size == (64, 48)
    assert np.abs(np.asarray(image)[9, 9].astype(int) - (200, 100, 50)).max() <= 3
