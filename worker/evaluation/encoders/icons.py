"""The embedded encoder for 64-pixel icons: one small convolutional trunk, one head for what and one for how.

It plays the part that DINO and CSD play for photographs. `worker/pretraining/encoder_training.py` trains it, on real
icons alone; it shares no weight with any generator. See docs/encoders.md for what it can and cannot tell.
"""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from worker.evaluation.encoders.base import EncoderError
from worker.evaluation.encoders.images import flatten, to_tensor

FOLDER = Path(__file__).parent / "icons-64"
WEIGHTS = "model.safetensors"
RESOLUTION = 64
DIMENSIONS = 128
_WIDTHS = (32, 64, 128, 256)
_BATCH = 64


class Head(StrEnum):
    """What an embedding tells pictures apart by: the thing they show, or the style that they are drawn in."""

    WHAT = "what"
    HOW = "how"


class IconNet(nn.Module):
    """(n, 3, 64, 64) in -1 to 1 -> two embeddings, (n, 128) of unit norm each. About 1.3 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolution(3, _WIDTHS[0], kernel=5, stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(_Residual(width), _convolution(width, wider, stride=2)) for width, wider in pairwise(_WIDTHS)
        )
        self.last = _Residual(_WIDTHS[-1])
        self.what = nn.Linear(2 * _WIDTHS[-1], DIMENSIONS)
        self.how = nn.Linear(2 * sum(_WIDTHS[1:]), DIMENSIONS)

    def forward(self, pixels: Tensor) -> dict[Head, Tensor]:
        maps = []
        x = self.stem(pixels)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        maps[-1] = self.last(x)
        shape = torch.cat([maps[-1].mean((2, 3)), maps[-1].amax((2, 3))], dim=1)
        # A style is in the statistics of the features, whatever they show (Gatys et al. 2016).
        texture = torch.cat([moment for each in maps for moment in _moments(each)], dim=1)
        return {
            Head.WHAT: F.normalize(self.what(shape).float(), dim=1),
            Head.HOW: F.normalize(self.how(texture).float(), dim=1),
        }


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """(n, c, h, w) -> mean and standard deviation over the places, (n, c) each."""
    # The gradient of a plain root is infinite where a channel is flat.
    return features.mean((2, 3)), (features.var((2, 3)) + 1e-4).sqrt()


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
