"""What holds for every encoder, embedded or not."""

import torch
from PIL import Image
from torch.testing import assert_close

from worker.evaluation.encoders.base import Encoder


def noise(seed: int, side: int = 40) -> Image.Image:
    """A smooth random picture: coarse noise, enlarged."""
    pixels = torch.randint(256, (5, 5, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(pixels.numpy()).resize((side, side), Image.Resampling.BICUBIC)


def assert_is_an_encoder(encoder: Encoder) -> None:
    """Unit rows that depend on their own picture alone, whatever stands beside it, and on its colours, not its mode."""
    pictures = [noise(seed) for seed in range(3)]
    together = encoder.embed(pictures)
    assert together.dtype == torch.float32
    assert together.device.type == "cpu"
    assert_close(together.norm(dim=1), torch.ones(3))
    assert_close(torch.cat([encoder.embed([picture]) for picture in pictures]), together, atol=1e-5, rtol=0)
    assert_close(encoder.embed([*pictures] * 30)[-3:], together, atol=1e-5, rtol=0)
    assert float((together[0] - together[1]).norm()) > 1e-3
    opaque = [picture.convert("RGBA") for picture in pictures]
    assert_close(encoder.embed(opaque), together, atol=1e-5, rtol=0)
    assert len(encoder.fingerprint) == 64


def assert_sees_size_little(encoder: Encoder) -> None:
    """Twice as large, the same picture is nearly the same point, nearer than any other picture."""
    points = encoder.embed([noise(seed) for seed in range(4)])
    larger = encoder.embed([noise(seed).resize((80, 80), Image.Resampling.BICUBIC) for seed in range(4)])
    cosines = larger @ points.T
    assert cosines.argmax(1).tolist() == [0, 1, 2, 3]
    assert float(cosines.diagonal().min()) > 0.95
