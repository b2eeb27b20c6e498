"""Names: what can be drawn, and one name for each, whatever the sets call it."""

import pytest

from recipes.icons_64.icon_sets import Icon
from recipes.icons_64.names import canonical_names, is_drawable, shared_names


@pytest.mark.parametrize(
    ("code_points", "name"),
    [
        ("1f1eb-1f1f7", "flag-france"),
        ("1f44d-1f3fd", "thumbs-up-medium-skin-tone"),
        ("23-20e3", "keycap-number-sign"),
        ("1f468-200d-1f373", "man-cook"),
        ("1f556", "seven-oclock"),
        ("2648", "aries"),
        ("1f170", "a-button-blood-type"),
        ("2b05", "left-arrow"),
    ],
)
def test_signs_flags_and_variants_are_left_out(code_points: str, name: str) -> None:
    assert not is_drawable(Icon(code_points, name, ""))


@pytest.mark.parametrize(("code_points", "name"), [("1f34d", "pineapple"), ("1f43b-200d-2744", "polar-bear")])
def test_things_are_kept(code_points: str, name: str) -> None:
    assert is_drawable(Icon(code_points, name, ""))


def test_the_name_that_most_sets_use_wins_and_is_written_with_spaces() -> None:
    sets = [[Icon("1f43c", name, "")] for name in ("panda", "panda-face", "panda")]
    assert canonical_names(sets) == {"1f43c": "panda"}


def test_two_icons_never_share_a_name() -> None:
    assert canonical_names([[Icon("1", "pistol", ""), Icon("2", "pistol", "")]]) == {"1": "pistol"}


def test_only_names_of_enough_sets_are_shared() -> None:
    pear, plum = Icon("1f350", "pear", ""), Icon("1f351", "plum", "")
    assert shared_names([[pear, plum], [pear, plum], [pear]]) == {"1f350": "pear"}
