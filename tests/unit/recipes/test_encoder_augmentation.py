"""The pictures that the yardstick is trained on: what the filters promise, and that nothing leaves the range."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from recipes.icons_64.encoder_augmentation import Filter, draw_backgrounds, place, restyle, spoil


def random_icons(count: int) -> Tensor:
    """Premultiplied RGBA discs of random colours, (count, 4, 64, 64)."""
    generator = torch.Generator().manual_seed(0)
    places = torch.linspace(-1, 1, 64)
    alpha = (places.square()[:, None] + places.square() < 0.6).float().expand(count, 1, 64, 64)
    colour = torch.rand(count, 3, 64, 64, generator=generator)
    return torch.cat([colour * alpha, alpha], dim=1)


@pytest.mark.parametrize("style", Filter)
def test_a_redrawn_icon_is_still_a_premultiplied_picture(style: Filter) -> None:
    redrawn = restyle(random_icons(3), style)
    assert redrawn.shape == (3, 4, 64, 64)
    assert redrawn.min() >= 0
    assert (redrawn[:, :3] <= redrawn[:, 3:] + 1e-6).all()
    assert redrawn[:, :, 0, 0].abs().max() == 0


def test_filters_do_what_they_are_named_after() -> None:
    icons = random_icons(2)
    assert_close(restyle(icons, Filter.NONE), icons)
    grey = restyle(icons, Filter.GREY)
    assert_close(grey[:, 0], grey[:, 2])
    assert restyle(icons, Filter.INK)[:, :3].max() == 0
    assert (restyle(icons, Filter.OUTLINE)[:, 3] >= icons[:, 3]).all()
    assert restyle(icons, Filter.OUTLINE)[:, 3].sum() > icons[:, 3].sum()
    assert_close(restyle(icons, Filter.PASTEL)[:, 3], icons[:, 3])


def test_nothing_placed_is_the_background() -> None:
    generator = torch.Generator().manual_seed(1)
    backgrounds = draw_backgrounds(4, generator)
    pictures = place(torch.zeros(4, 4, 64, 64), backgrounds, generator)
    assert_close(pictures, backgrounds.view(4, 3, 1, 1).expand(4, 3, 64, 64))


def test_an_icon_keeps_most_of_itself_on_the_canvas_wherever_it_is_placed() -> None:
    generator = torch.Generator().manual_seed(2)
    white = torch.ones(64, 4, 64, 64)
    covered = place(white, torch.zeros(64, 3), generator).mean((1, 2, 3))
    # A square of 0.55 to 1 of the canvas covers 0.3 to 1 of it.
    assert covered.min() > 0.25
    assert covered.max() > 0.8


def test_half_of_the_pictures_stay_clean() -> None:
    generator = torch.Generator().manual_seed(3)
    pictures = torch.rand(8, 3, 64, 64, generator=generator)
    spoiled = spoil(pictures, generator)
    assert_close(spoiled[4:], pictures[4:])
    assert ((spoiled[:4] - pictures[:4]).abs().mean((1, 2, 3)) > 0.005).all()
    assert spoiled.min() >= 0
    assert spoiled.max() <= 1
