"""Pictures as the VAE gets them."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tiny_pipelines import tiny_base
from tests.unit.worker.training.helpers import a_task
from worker.models.base import Framing
from worker.training.data import encode, framing, pixels


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (255, 0, 127)), ("L", 255), ("P", 0), ("RGBA", (0, 0, 0, 255))])
def test_any_mode_becomes_rgb_in_minus_one_to_one(mode: str, colour: int | tuple[int, ...]) -> None:
    image = Image.new(mode, (30, 50), colour)
    expected = np.asarray(image.convert("RGB"))[0, 0] / 127.5 - 1
    tensor = pixels(image, 64)
    assert tensor.shape == (3, 64, 64)
    np.testing.assert_allclose(tensor[:, 32, 32], expected, atol=1e-6)


def test_what_is_transparent_is_white() -> None:
    assert torch.equal(pixels(Image.new("RGBA", (8, 8), (9, 9, 9, 0)), 8), torch.ones(3, 8, 8))


def test_the_middle_is_kept() -> None:
    image = Image.new("RGB", (300, 100), "black")
    image.paste("white", (100, 0, 200, 100))
    assert torch.equal(pixels(image, 100), torch.ones(3, 100, 100))


@pytest.mark.parametrize(
    ("size", "cut"),
    [
        ((300, 100), Framing((100, 300), (0, 64))),
        ((100, 300), Framing((300, 100), (64, 0))),
        ((32, 32), Framing((32, 32), (0, 0))),
        ((65, 64), Framing((64, 65), (0, 0))),
    ],
)
def test_the_framing_says_how_the_middle_was_cut(size: tuple[int, int], cut: Framing) -> None:
    assert framing(Image.new("RGB", size), 64) == cut


def test_the_framing_is_where_the_pixels_are_from() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 130, 3), dtype=np.uint8))
    top, left = framing(image, 64).crop_top_left
    assert torch.equal(pixels(image, 64), pixels(image.crop((left, top, left + 64, top + 64)), 64))


def test_each_image_is_encoded_as_if_it_were_alone() -> None:
    task, base = a_task(), tiny_base()
    told: list[int] = []
    encoded = encode(base, task, lambda: told.append(1))
    alone = base.encode_images(pixels(task.images[1], 64).unsqueeze(0))
    assert torch.equal(encoded.latents.mean[1:], alone.mean)
    assert torch.equal(encoded.latents.std[1:], alone.std)
    assert len(told) == len(task.images)
