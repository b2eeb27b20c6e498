"""The procedural styles: what each does to an icon's colours and shape, on made-up icons."""

import numpy as np
import pytest

from recipes.icons_64.encoder_augmentation import Filter
from recipes.icons_64.pictures import RASTER, Pixels
from recipes.icons_64.redrawings import Redrawing, redraw


@pytest.fixture(scope="module")
def icon() -> Pixels:
    """A red disc with a white middle, on nothing."""
    y, x = np.mgrid[:RASTER, :RASTER] - RASTER // 2
    radius = np.hypot(x, y)
    raster = np.zeros((RASTER, RASTER, 4), np.uint8)
    raster[radius < 40] = (200, 40, 40, 255)
    raster[radius < 15] = (250, 250, 250, 255)
    return raster


@pytest.mark.parametrize("style", Redrawing)
def test_a_redrawn_icon_is_another_picture_of_about_the_same_shape(icon: Pixels, style: Redrawing) -> None:
    drawn = redraw(icon, style)
    assert drawn.shape == icon.shape
    assert not np.array_equal(drawn, icon)
    covered, before = drawn[..., 3] > 127, icon[..., 3] > 127
    assert (covered & before).sum() > 0.9 * before.sum()
    assert covered.sum() < 1.7 * before.sum()


def test_no_two_redrawings_draw_alike(icon: Pixels) -> None:
    drawn = [redraw(icon, style).astype(float) for style in Redrawing]
    for one in range(len(drawn)):
        for other in range(one):
            assert np.abs(drawn[one] - drawn[other]).mean() > 3


def test_inverting_and_swapping_are_undone_by_repeating_them(icon: Pixels) -> None:
    twice = redraw(redraw(icon, Redrawing.INVERTED), Redrawing.INVERTED)
    assert np.abs(twice.astype(int) - icon).max() <= 1
    thrice = icon
    for _ in range(3):
        thrice = redraw(thrice, Redrawing.SWAPPED)
    assert np.abs(thrice.astype(int) - icon).max() <= 1


def test_what_studies_teach_is_not_among_them() -> None:
    assert not {str(style) for style in Filter} & {str(style) for style in Redrawing}
