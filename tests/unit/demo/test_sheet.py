"""The contact sheet: everything has a place of its own, and says what it is."""

from itertools import product
from pathlib import Path

import pytest
from PIL import Image

from demo.layout import Box, Layout
from demo.sheet import ACCENT, draw_sheet, layout_of, write_sheet
from tests.unit.demo.made_up import TAUGHT, UNTAUGHT, story


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("tiles", [1, 2, 4])
def test_cells_lie_apart_and_on_the_sheet(tiles: int) -> None:
    layout = Layout(blocks=2, rows=3, columns=5, tiles=tiles)
    cells = [layout.cell(*place) for place in product(range(2), range(3), range(5))]
    width, height = layout.size
    assert all(left >= 0 and top >= 0 and right <= width and bottom <= height for left, top, right, bottom in cells)
    assert not any(overlap(one, other) for n, one in enumerate(cells) for other in cells[:n])


def test_taught_cells_show_their_pictures_and_others_are_faded() -> None:
    made_up = story()
    sheet, layout = draw_sheet(made_up), layout_of(made_up)
    for block, row, version in product(range(2), range(3), range(4)):
        left, top, right, bottom = layout.cell(block, row, version + 1)
        middle_of_the_last_tile = sheet.getpixel((right - 40, (top + bottom) // 2))
        assert left < right - 40
        if version > row:
            assert middle_of_the_last_tile == TAUGHT
        else:
            assert middle_of_the_last_tile not in (TAUGHT, UNTAUGHT)


def test_the_version_that_has_just_learned_is_framed_and_no_other() -> None:
    made_up = story()
    sheet, layout = draw_sheet(made_up), layout_of(made_up)
    for block, row, version in product(range(2), range(3), range(4)):
        left, top, _, bottom = layout.cell(block, row, version + 1)
        edge = sheet.getpixel((left - 2, (top + bottom) // 2))
        is_framed = edge == Image.new("RGB", (1, 1), ACCENT).getpixel((0, 0))
        assert is_framed == (version == row + 1)


def test_the_file_is_the_picture(tmp_path: Path) -> None:
    made_up = story(num_images=1)
    write_sheet(made_up, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as saved:
        assert saved.size == layout_of(made_up).size


@pytest.mark.parametrize("tiles", [1, 2, 4])
def test_two_in_one_picture_are_the_last_row_where_both_are_taught(tiles: int) -> None:
    narrow, made_up = story(tiles), story(tiles, wide=True)
    sheet, layout = draw_sheet(made_up), layout_of(made_up)
    assert layout.rows == layout_of(narrow).rows + 1
    assert draw_sheet(narrow).size == layout_of(narrow).size
    for block, version in product(range(2), range(4)):
        left, top, right, bottom = layout.wide_tile(layout.cell(block, 3, version + 1))
        assert right - left == 2 * (bottom - top)
        seen = sheet.getpixel(((left + right) // 2, (top + bottom) // 2))
        assert (seen == TAUGHT) == (version >= 2)
