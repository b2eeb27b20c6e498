"""The report stands alone, and shows what it was given as text."""

import re

from demo.report import render
from tests.unit.demo.made_up import NAMES, story


def test_what_users_and_services_wrote_is_shown_as_text() -> None:
    page = render(story())
    assert "tiny &lt;sd&gt;" in page
    assert "a photo of zqa &lt;toy&gt;" in page
    assert "<toy>" not in page
    assert "<my-duck>" not in page


def test_everything_is_in_the_file() -> None:
    page = render(story(num_images=2))
    assert re.findall(r"(?:src|href)=\"(?!data:)", page) == []
    assert page.count("<img") == 2 * 3 * 5 * 2
    assert page.count('class="just-taught"') == 2 * 3
    assert page.count('class="not-taught"') == 2 * (1 + 2 + 3)
    assert "$" not in page
    assert all(name in page for name in NAMES)


def test_each_version_has_its_times_and_its_provenance() -> None:
    page = render(story())
    assert page.count("version 1, my-duck") == 2
    assert "12.0" in page
    assert "36.0" in page, "three drawings of a version"
    assert page.count(f'title="{"3" * 64}"') == 2


def test_two_in_one_picture_stand_in_the_last_row() -> None:
    page = render(story(wide=True))
    assert page.count('class="together"') == 2 * 2
    assert "&lt;my-duck&gt; next to &lt;my-peach&gt;" in page
    assert 'together"' not in render(story()).split("</style>")[1]
