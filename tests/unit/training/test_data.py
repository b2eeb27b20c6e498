"""Pictures as the VAE gets them."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tiny_pipelines import tiny_base
from tests.unit.training.helpers import a_task
from worker.training.data import encode, pixels


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


def test_each_image_is_encoded_as_if_it_were_alone() -> None:
    task, base = a_task(), tiny_base()
    told: list[int] = []
    encoded = encode(base, task, lambda: told.append(1))
    alone = base.encode_images(pixels(task.images[1], 64).unsqueeze(0))
    assert torch.equal(encoded.latents.mean[1:], alone.mean)
    assert torch.equal(encoded.latents.std[1:], alone.std)
    assert len(told) == len(task.images)
