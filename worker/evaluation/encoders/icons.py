"""The embedded encoder for 64-pixel icons: one small convolutional trunk, one head for what and one for how.

It plays the part that DINO and CSD play for photographs. `recipes/icons_64/encoder_training.py` trains it, on real
icons alone; it shares no weight with any generator. See docs/encoders.md for what it can and cannot tell.
"""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise, product
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from worker.evaluation.encoders.base import EncoderError
from worker.evaluation.encoders.image_tensors import flatten, to_tensor

FOLDER = Path(__file__).parent / "icons-64"
WEIGHTS = "model.safetensors"
RESOLUTION = 64
DIMENSIONS = 128
PALETTE_BINS = 14
_WIDTHS = (32, 64, 128, 256)
_BATCH = 64


class Head(StrEnum):
    """What an embedding tells pictures apart by: the thing they show, or the style that they are drawn in."""

    WHAT = "what"
    HOW = "how"


class IconNet(nn.Module):
    """(n, 3, 64, 64) in -1 to 1 -> two embeddings, (n, 128) of unit norm each. About 2.3 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk()
        self.what = nn.Linear(self.trunk.shape_width, DIMENSIONS)
        self.how = StyleHead(self.trunk.texture_width)

    def forward(self, pixels: Tensor) -> dict[Head, Tensor]:
        shape, texture = self.trunk(pixels)
        return {
            Head.WHAT: F.normalize(self.what(shape).float(), dim=1),
            Head.HOW: F.normalize(self.how(texture, pixels).float(), dim=1),
        }


class Trunk(nn.Module):
    """(n, 3, 64, 64) -> what tells shapes apart, (n, 512), and what tells textures apart, (n, 960)."""

    shape_width = 2 * _WIDTHS[-1]
    texture_width = 2 * sum(_WIDTHS)

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolution(3, _WIDTHS[0], kernel=5, stride=2)
        self.stages = nn.ModuleList(_Residual(width) for width in _WIDTHS)
        self.between = nn.ModuleList(_convolution(width, wider, stride=2) for width, wider in pairwise(_WIDTHS))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        maps = [self.stages[0](self.stem(pixels))]
        for down, stage in zip(self.between, self.stages[1:], strict=True):
            maps.append(stage(down(maps[-1])))
        shape = torch.cat([maps[-1].mean((2, 3)), maps[-1].amax((2, 3))], dim=1)
        # A style is in the statistics of the features at every size, whatever they show (Gatys et al. 2016).
        texture = torch.cat([moment for each in maps for moment in _moments(each)], dim=1)
        return shape, texture


class StyleHead(nn.Module):
    """A style's two halves, how it is drawn and in which colours, each of about norm 1 -> (n, 128)."""

    def __init__(self, textures: int) -> None:
        super().__init__()
        # The statistics of early and late features differ in size by orders of magnitude.
        self.norm = nn.BatchNorm1d(textures, affine=False)
        hidden = 2 * DIMENSIONS
        self.layers = nn.Sequential(
            nn.Linear(textures + PALETTE_BINS**3, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.SiLU(),
            nn.Linear(hidden, DIMENSIONS),
        )

    def forward(self, texture: Tensor, pixels: Tensor) -> Tensor:
        """(n, 960) from the trunk, and the (n, 3, 64, 64) that it came from."""
        drawn = self.norm(texture) / texture.shape[1] ** 0.5
        embedding: Tensor = self.layers(torch.cat([drawn, palette(pixels)], dim=1))
        return embedding


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """(n, c, h, w) -> mean and standard deviation over the places, (n, c) each."""
    mean = features.mean((2, 3)).float()
    # By the squares, since `var` is slow in bf16; clamped, since a plain root's gradient is infinite in a flat channel.
    variance = features.square().mean((2, 3)).float() - mean.square()
    return mean, variance.clamp(min=1e-3).sqrt()


def palette(pixels: Tensor) -> Tensor:
    """(n, 3, h, w) in -1 to 1 -> (n, 2744): the roots of a colour histogram of 14 bins per channel, wherever they are.

    A set keeps to its palette. On real icons of unseen names, a small net on this alone names the set in 88% of cases;
    one on the statistics of the convolutions in 44%. Each pixel is shared out among the eight nearest bins. Every other
    pixel counts: neighbours are alike.
    """
    places = pixels[:, :, ::2, ::2].float().add(1).div(2).clamp(0, 1).flatten(2) * (PALETTE_BINS - 1)
    below = places.floor().clamp(max=PALETTE_BINS - 2)
    shares = torch.stack([1 - (places - below), places - below])
    histogram = pixels.new_zeros(len(pixels), PALETTE_BINS**3, dtype=torch.float32)
    for r, g, b in product((0, 1), repeat=3):
        red, green, blue = (below + torch.tensor([[r], [g], [b]], device=pixels.device)).long().unbind(1)
        weights = shares[r, :, 0] * shares[g, :, 1] * shares[b, :, 2]
        histogram.scatter_add_(1, (red * PALETTE_BINS + green) * PALETTE_BINS + blue, weights)
    return (histogram / places.shape[2]).sqrt()


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = _convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.SiLU())


class IconEncoder:
    """One head of the trained net, as an `Encoder`."""

    def __init__(self, net: IconNet, head: Head, fingerprint: str) -> None:
        self._net = net.eval().requires_grad_(False)
        self._head = head
        self._fingerprint = fingerprint

    @property
    def name(self) -> str:
        return f"icons-64-{self._head}"

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @torch.no_grad()
    def embed(self, images: Sequence[Image.Image]) -> Tensor:
        device = next(self._net.parameters()).device
        batches = torch.stack([_prepare(image) for image in images]).split(_BATCH)
        return torch.cat([self._net(batch.to(device))[self._head].cpu() for batch in batches])


def _prepare(image: Image.Image) -> Tensor:
    picture = flatten(image)
    if picture.size != (RESOLUTION, RESOLUTION):
        picture = picture.resize((RESOLUTION, RESOLUTION), Image.Resampling.BICUBIC)
    return to_tensor(picture).mul(2.0).sub(1.0)


def load_icons(head: Head, device: torch.device, folder: Path = FOLDER) -> IconEncoder:
    """The trained net in `folder`, in fp32.

    Raises:
        EncoderError: there are no weights in it, or others.
    """
    net = IconNet()
    try:
        content = (folder / WEIGHTS).read_bytes()
        net.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise EncoderError(f"The encoder in {folder.name!r} cannot be loaded.") from error
    return IconEncoder(net.to(device), head, hashlib.sha256(content).hexdigest())
