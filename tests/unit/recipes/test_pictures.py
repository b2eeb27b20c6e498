"""Backgrounds can be told from the pixels, and icons stay inside the canvas."""

import random
from itertools import combinations

import numpy as np
import pytest

from recipes.icons_64.pictures import RESOLUTION, Placement, compose, rasterise
from worker.evaluation.colours import BACKGROUNDS, JITTER

SQUARE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><rect width="10" height="10" fill="#123456"/></svg>'
)


def test_the_named_colours_are_further_apart_than_their_jitter() -> None:
    for (_, left), (_, right) in combinations(BACKGROUNDS.items(), 2):
        assert max(abs(a - b) for a, b in zip(left, right, strict=True)) > 4 * JITTER


@pytest.mark.parametrize("colour", BACKGROUNDS)
def test_corners_show_the_background(colour: str) -> None:
    placement = Placement.draw(random.Random(1), colour)
    picture = compose(rasterise(SQUARE), placement)
    assert picture.shape == (RESOLUTION, RESOLUTION, 3)
    for corner in (picture[0, 0], picture[0, -1], picture[-1, 0], picture[-1, -1]):
        assert np.abs(corner.astype(int) - BACKGROUNDS[colour]).max() <= JITTER


def test_an_icon_is_whole_wherever_it_is_placed() -> None:
    generator = random.Random(2)
    for _ in range(50):
        placement = Placement.draw(generator, "white")
        inside = (compose(rasterise(SQUARE), placement) == (0x12, 0x34, 0x56)).all(-1).sum()
        assert inside == round(placement.extent * RESOLUTION) ** 2


def test_wide_icons_are_centred_and_keep_their_shape() -> None:
    raster = rasterise(SQUARE.replace("0 0 10 10", "0 0 10 5"), size=64)
    rows = np.flatnonzero(raster[:, :, 3].any(1))
    assert raster.shape == (64, 64, 4)
    assert (rows[0], rows[-1]) == (16, 47)
