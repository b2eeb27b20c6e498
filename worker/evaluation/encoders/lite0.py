"""`lite0-what`: what a picture shows, by a network that was trained elsewhere, on photographs, and never on our icons.

Features of EfficientNet-Lite0 (ImageNet's weights), averaged over the places, whitened by how they differ among real
pictures of one name: what changes with the set, the background and the place counts less. The whitening is closed form
(within-class covariance normalisation, Hatch et al. 2006), by `python -m recipes.icons_64 judge`; see docs/encoders.md.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from worker.evaluation.encoders.base import EncoderError
from worker.evaluation.encoders.image_tensors import flatten, to_tensor
from worker.evaluation.encoders.lite0_net import BLOCK_WIDTHS, Lite0

NAME = "lite0-what"
FOLDER = Path(__file__).parent / "lite0"
NETWORK = "model.safetensors"
WHITENING = "whitening.safetensors"
BLOCKS = "blocks"
_SIDE = 128
_BATCH = 16
# ImageNet's mean and spread, as the authors of the weights' conversion use them.
_MEAN = (0.485, 0.456, 0.406)
_SPREAD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Whitening:
    """From the means of some blocks' features, d in all, to the sphere. `mean`: (d,); `matrix`: (d, d); fp32."""

    blocks: tuple[int, ...]
    mean: Tensor
    matrix: Tensor

    def __call__(self, means: Tensor) -> Tensor:
        """(n, all channels) as `block_means` gives them -> (n, d) of unit norm."""
        return F.normalize((means[:, columns(self.blocks)] - self.mean) @ self.matrix.T, dim=1)

    @classmethod
    def load(cls, file: Path) -> "Whitening":
        """Raises ValueError where it is of other blocks than it says."""
        with safe_open(file, "pt") as stored:
            blocks = tuple(json.loads(stored.metadata()[BLOCKS]))
            whitening = cls(blocks, stored.get_tensor("mean"), stored.get_tensor("matrix"))
        width = len(columns(blocks))
        if (whitening.mean.shape, whitening.matrix.shape) != ((width,), (width, width)):
            raise ValueError("the whitening is not of its blocks' width")
        return whitening


def columns(blocks: Sequence[int]) -> Tensor:
    """Where those blocks' channels are in what `block_means` gives."""
    ends = list(accumulate(BLOCK_WIDTHS))
    return torch.cat([torch.arange(ends[block] - BLOCK_WIDTHS[block], ends[block]) for block in blocks])


@torch.no_grad()
def block_means(net: Lite0, images: Sequence[Image.Image]) -> Tensor:
    """(n, channels of all the net's blocks) fp32 on the CPU: each block's features, averaged over the places."""
    device = next(net.parameters()).device
    # By batches from the start: all pictures at once at 128 pixels would be gigabytes.
    means = []
    for start in range(0, len(images), _BATCH):
        pixels = torch.stack([_prepare(image) for image in images[start : start + _BATCH]])
        features = net(pixels.to(device, memory_format=torch.channels_last))
        means.append(torch.cat([each.mean((2, 3)) for each in features], dim=1).cpu())
    return torch.cat(means)


def _prepare(image: Image.Image) -> Tensor:
    picture = flatten(image)
    if picture.size != (_SIDE, _SIDE):
        picture = picture.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    mean, spread = (torch.tensor(each).view(3, 1, 1) for each in (_MEAN, _SPREAD))
    return (to_tensor(picture) - mean) / spread


class Lite0Encoder:
    """The network under its whitening, as an `Encoder`, in fp32."""

    def __init__(self, net: Lite0, whitening: Whitening, fingerprint: str) -> None:
        self._net = prepared(net)
        self._whitening = whitening
        self._fingerprint = fingerprint

    @property
    def name(self) -> str:
        return NAME

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def embed(self, images: Sequence[Image.Image]) -> Tensor:
        return self._whitening(block_means(self._net, images))


def prepared(net: Lite0) -> Lite0:
    """Frozen, and laid out as convolutions of single channels run twice as fast on a CPU."""
    for weight in net.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return net.eval().requires_grad_(False)


def load_lite0(device: torch.device, folder: Path = FOLDER) -> Lite0Encoder:
    """The network and its whitening in `folder`.

    Raises:
        EncoderError: they are not there, or are others.
    """
    try:
        whitening = Whitening.load(folder / WHITENING)
        net = Lite0(max(whitening.blocks) + 1)
        net.load_state_dict(load_file(folder / NETWORK))
        contents = [(folder / name).read_bytes() for name in (NETWORK, WHITENING)]
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise EncoderError(f"The encoder in {folder.name!r} cannot be loaded.") from error
    return Lite0Encoder(net.to(device), whitening, hashlib.sha256(b"".join(contents)).hexdigest())
