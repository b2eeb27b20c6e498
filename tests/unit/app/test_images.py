"""What becomes of an uploaded picture."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from app.domain.errors import InvalidImageError
from app.services.images import ImageLimits, Upload, read_picture

HEIC = Path(__file__).parents[2] / "heic" / "large.heic"
# Of a process that reads the picture at sys.argv[1], by how many bytes it grows at its peak.
GROWTH = """
import resource, sys
from app.services.images import ImageLimits, Upload, read_picture
peak = lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
with open(sys.argv[1], "rb") as file:
    picture = read_picture(Upload("a", "a", file), ImageLimits(25_000_000, 2048, 120_000_000))
print(picture.width, picture.height, peak() - before)
"""
LIMITS = ImageLimits(max_pixels=1_000_000, stored_side_pixels=64, max_jpeg_pixels=4_000_000)


def saved(image: Image.Image, form: str = "PNG", **options: object) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    buffer.seek(0)
    return buffer


def stored(file: io.BytesIO) -> Image.Image:
    picture = read_picture(Upload("images[0]: a.png", "a.png", file), LIMITS)
    image = Image.open(io.BytesIO(picture.png))
    assert image.format == "PNG"
    assert image.mode == "RGB"
    assert image.size == (picture.width, picture.height)
    return image


def test_a_small_picture_keeps_its_pixels() -> None:
    image = Image.effect_noise((40, 30), 80).convert("RGB")
    assert stored(saved(image)).tobytes() == image.tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "YCbCr"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    form = "JPEG" if mode == "YCbCr" else "PNG"
    assert stored(saved(Image.new(mode, (8, 8)), form)).size == (8, 8)


def test_sixteen_bits_keep_their_brightness() -> None:
    grey = Image.new("I;16", (8, 8), 0x8000)
    assert stored(saved(grey)).getpixel((0, 0)) == (128, 128, 128)


def test_orientation_is_applied_and_metadata_dropped() -> None:
    image = Image.new("RGB", (40, 20), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010E] = "where it was taken"
    result = stored(saved(image, "JPEG", exif=exif))
    assert result.size == (20, 40)
    assert not result.getexif()
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "a secret")
    assert "secret" not in str(stored(saved(image, pnginfo=text)).info)


def test_transparency_becomes_white() -> None:
    assert stored(saved(Image.new("RGBA", (8, 8), (255, 0, 0, 0)))).getpixel((0, 0)) == (255, 255, 255)
    assert stored(saved(Image.new("RGBA", (8, 8), (255, 0, 0, 255)))).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_large_picture_is_scaled_down(form: str) -> None:
    assert stored(saved(Image.new("RGB", (640, 320)), form)).size == (64, 32)


def test_the_limit_is_in_pixels() -> None:
    assert stored(saved(Image.new("RGB", (1000, 1000)))).size == (64, 64)
    with pytest.raises(InvalidImageError, match="pixels"):
        stored(saved(Image.new("RGB", (1000, 1001))))


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_animations_are_refused(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    with pytest.raises(InvalidImageError, match="animated"):
        stored(saved(frames[0], form, save_all=True, append_images=frames[1:]))


def test_a_phones_photo_is_its_first_picture() -> None:
    pictures = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    pixel = stored(saved(pictures[0], "MPO", save_all=True, append_images=pictures[1:])).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 250
    assert pixel[2] < 5


def test_a_refusal_names_the_file() -> None:
    with pytest.raises(InvalidImageError) as refusal:
        stored(io.BytesIO(b"a text"))
    assert refusal.value.faults[0].field == "images[0]: a.png"


@pytest.mark.parametrize("form", ["AVIF", "HEIC"])
def test_a_phone_s_picture_of_24_megapixels_takes_bounded_memory(tmp_path: Path, form: str) -> None:
    path = HEIC
    if form == "AVIF":
        path = tmp_path / "a.avif"
        path.write_bytes(saved(Image.new("RGB", (5712, 4284), "red"), "AVIF", quality=60, speed=10).getvalue())
    run = subprocess.run([sys.executable, "-c", GROWTH, path], capture_output=True, text=True, check=True)
    width, height, growth = map(int, run.stdout.split())
    assert (width, height) == (2048, 1536)
    assert growth < 320 * 1024 * 1024
