"""Pictures that teach little are accepted with a warning; strips are refused."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from app.domain.errors import InvalidImageError
from app.services.image_lessons import insist_on_lessons, warnings_of
from app.services.images import ImageLimits, Picture, Upload, read_picture

LIMITS = ImageLimits(max_pixels=25_000_000, stored_side_pixels=2048, max_jpeg_pixels=25_000_000)
SIDES = {"icons": 64, "sd": 512, "xl": 1024}


def spots(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft spots, coarse enough that a thumbnail tells two of them apart."""
    colours = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)


def read(image: Image.Image, form: str = "PNG", **options: object) -> Picture:
    file = io.BytesIO()
    image.save(file, form, **options)
    return read_picture(Upload("images[0]: a", "a", file), LIMITS)


def said(*pictures: Picture) -> list[tuple[str, str]]:
    return [(fault.field, fault.message.split(": ")[0]) for fault in warnings_of(pictures, SIDES)]


def test_good_pictures_are_not_talked_about() -> None:
    assert said(read(spots(1024, 1024)), read(spots(1500, 1000, seed=1))) == []


def test_one_colour() -> None:
    plain = Image.new("RGB", (1024, 1024), "teal")
    assert said(read(plain)) == said(read(plain, "JPEG", quality=30)) == [("images[0]", "of one colour")]


@pytest.mark.parametrize(
    "again",
    [
        lambda image: image,
        lambda image: image.resize((1100, 1100)),
        lambda image: image.point(lambda value: min(value + 1, 255)),
    ],
)
def test_duplicates(again: Callable[[Image.Image], Image.Image]) -> None:
    image = spots(1024, 1024)
    other, twin = read(spots(1024, 1024, seed=5)), read(again(image), "JPEG", quality=80)
    same = "the same picture as images[0], or nearly"
    assert said(read(image), other, twin) == [("images[2]", same)]


def test_far_smaller_than_a_base_is_taught_at() -> None:
    found = warnings_of([read(spots(200, 300))], SIDES)
    assert [fault.message for fault in found] == [
        "its shorter side has 200 pixels, less than half of what is taught to sd (512), xl (1024)"
    ]
    assert said(read(spots(512, 512))) == []


def test_long_pictures_lose_their_ends_and_strips_are_refused() -> None:
    assert said(read(spots(3000, 1024))) == [("images[0]", "2.9 times as long as wide")]
    insist_on_lessons([read(spots(1024, 64))])
    with pytest.raises(InvalidImageError) as refusal:
        insist_on_lessons([read(spots(1024, 1024)), read(spots(2000, 20)), read(spots(10, 1000))])
    assert [fault.field for fault in refusal.value.faults] == ["images[1]", "images[2]"]
