"""Stage `latents`: each icon, plain and redrawn, on each background once, as the autoencoder's posterior."""

import random
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from rich.progress import track
from torch import Tensor

from recipes.icons_64 import vae as vae_stage
from recipes.icons_64.captions import SET_NOUNS, Shown
from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.pictures import Pixels, Placement, compose
from recipes.icons_64.redrawings import SOURCE_SET, Redrawing, redraw
from recipes.icons_64.split import Split, class_nouns, load_split
from worker.evaluation.colours import BACKGROUNDS

# A finished autoencoder, standardised, in fp16: a run on another machine begins from it.
KEPT = Path(__file__).parent / "autoencoder"
_FILE = "latents.pt"
_BATCH = 64
# Of the samples, how many are redrawn icons.
_REDRAWN_SHARE = 0.25


@dataclass(frozen=True)
class Drawing:
    """An icon in one style: as its set draws it, or redrawn."""

    picture: Picture
    redrawing: Redrawing | None = None

    @property
    def style_noun(self) -> str:
        return str(self.redrawing) if self.redrawing else SET_NOUNS[self.picture.set_name]

    def pixels(self, rasters: Pixels) -> Pixels:
        raster = rasters[self.picture.row]
        return redraw(raster, self.redrawing) if self.redrawing else raster


def drawings(pictures: Pictures, split: Split) -> list[Drawing]:
    """What the generator learns: the plain icons first, then the redrawn ones without the unseen combinations."""
    plain = [Drawing(picture) for picture in pictures.for_generator]
    sources = [picture for picture in pictures.for_generator if picture.set_name == SOURCE_SET]
    return plain + [
        Drawing(picture, redrawing)
        for redrawing in Redrawing
        for picture in sources
        if picture.name not in split.unseen_combinations[redrawing]
    ]


@dataclass(frozen=True)
class Latents:
    """`mean`, `std`: (drawings, backgrounds, 16, 8, 8) fp16; `drawings`: what each row shows."""

    mean: Tensor
    std: Tensor
    drawings: list[Drawing]

    @classmethod
    def load(cls, work_dir: Path) -> "Latents":
        state = torch.load(work_dir / _FILE, weights_only=True)
        return cls(state["mean"], state["std"], drawings(Pictures.load(work_dir), load_split()))

    def of_names(self, count: int) -> "Latents":
        """Those of the first `count` names alone: for trials."""
        names = set(sorted({drawing.picture.name for drawing in self.drawings})[:count])
        rows = [row for row, drawing in enumerate(self.drawings) if drawing.picture.name in names]
        return Latents(self.mean[rows], self.std[rows], [self.drawings[row] for row in rows])

    @cached_property
    def _plain(self) -> int:
        """How many drawings are plain; the redrawn ones follow."""
        return sum(drawing.redrawing is None for drawing in self.drawings)

    @cached_property
    def _alike(self) -> list[list[int]]:
        """For each row, the rows of the same name in other styles."""
        by_name: dict[str, list[int]] = {}
        for row, drawing in enumerate(self.drawings):
            by_name.setdefault(drawing.picture.name, []).append(row)
        return [
            [other for other in by_name[drawing.picture.name] if other != row]
            for row, drawing in enumerate(self.drawings)
        ]

    def draw(self, count: int, generator: torch.Generator) -> "Batch":
        """`count` samples of the posteriors, a quarter of them redrawn, each with another style's as its negative."""
        redrawn = torch.rand(count, generator=generator) < _REDRAWN_SHARE if self._plain < len(self.drawings) else False
        choice = torch.rand(count, generator=generator, dtype=torch.float64)
        plain_rows = choice * self._plain
        redrawn_rows = self._plain + choice * (len(self.drawings) - self._plain)
        rows = torch.where(torch.as_tensor(redrawn), redrawn_rows, plain_rows).long()
        columns = torch.randint(len(BACKGROUNDS), (count,), generator=generator)
        picks = torch.rand(count, generator=generator).tolist()
        others = [
            alike[int(pick * len(alike))] if (alike := self._alike[row]) else row
            for row, pick in zip(rows.tolist(), picks, strict=True)
        ]
        return Batch(
            latents=self._sample(rows, columns, generator),
            negatives=self._sample(torch.tensor(others), columns, generator),
            shown=[self.shown(row, column) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)],
        )

    def shown(self, row: int, column: int) -> Shown:
        """What the picture of this row on this background shows."""
        drawing = self.drawings[row]
        name = drawing.picture.name
        return Shown(drawing.style_noun, name, class_nouns().get(name), list(BACKGROUNDS)[column])

    def _sample(self, rows: Tensor, columns: Tensor, generator: torch.Generator) -> Tensor:
        mean, std = self.mean[rows, columns].float(), self.std[rows, columns].float()
        return mean + std * torch.randn(mean.shape, generator=generator)


@dataclass(frozen=True)
class Batch:
    """`latents`, `negatives`: (n, 16, 8, 8) fp32, the latter of the same names and backgrounds in other styles."""

    latents: Tensor
    negatives: Tensor
    shown: list[Shown]


def prepare(work_dir: Path, device: torch.device, seed: int = 0) -> None:
    """Encode all pictures of the generator, standardise the autoencoder by what comes out, and save both.

    An autoencoder that was saved before is a standardised one; where none was trained here, it is the kept one. Does
    nothing where the latents exist.
    """
    if (work_dir / _FILE).exists():
        return
    if KEPT.exists() and not any((work_dir / name).exists() for name in ("vae", "vae.pt")):
        shutil.copytree(KEPT, work_dir / "vae")
    pictures = Pictures.load(work_dir)
    to_encode = drawings(pictures, load_split())
    if (work_dir / "vae").exists():
        vae = AutoencoderKL.from_pretrained(work_dir / "vae", dtype=torch.float32).to(device)
        mean, std = _encode_all(vae, pictures, to_encode, device, seed)
    else:
        vae = vae_stage.load(work_dir).to(device)
        mean, std = _encode_all(vae, pictures, to_encode, device, seed)
        offset, scale = mean.mean((0, 2, 3)), spread(mean, std)
        standardise(vae, offset.to(device), scale.to(device))
        vae.save_pretrained(work_dir / "vae")
        mean = (mean - offset.view(1, -1, 1, 1)) / scale.view(1, -1, 1, 1)
        std = std / scale.view(1, -1, 1, 1)
    shape = (len(to_encode), len(BACKGROUNDS), *mean.shape[1:])
    partial = work_dir / f"{_FILE}.partial"
    torch.save({"mean": mean.half().view(shape), "std": std.half().view(shape)}, partial)
    partial.replace(work_dir / _FILE)


def keep(work_dir: Path) -> None:
    """Stage `keep-vae`: put the run's standardised autoencoder into the repository."""
    vae = AutoencoderKL.from_pretrained(work_dir / "vae", dtype=torch.float16)
    # Diffusers would write down the folder of this machine.
    vae.register_to_config(_name_or_path="icons-64")
    vae.save_pretrained(KEPT)


def spread(mean: Tensor, std: Tensor) -> Tensor:
    """(16,) what to divide each channel by, for posteriors (n, 16, 8, 8).

    The standard deviation of a sample; ten times that where the posterior is wider than its means differ: such a
    channel has collapsed and holds nothing, and near zero it costs the UNet neither capacity nor loss.
    """
    signal, noise = mean.var((0, 2, 3)), std.square().mean((0, 2, 3))
    return torch.where(noise > signal, 10.0, 1.0) * (signal + noise).sqrt()


@torch.no_grad()
def standardise(vae: AutoencoderKL, offset: Tensor, scale: Tensor) -> None:
    """Make each latent channel (z - offset) / scale, in place, and leave what the autoencoder draws as it is.

    The pipelines know one `scaling_factor` for all channels. The 1 x 1 convolutions on both sides of the latents can
    hold one for each; the factor is then 1.
    """
    channels = len(offset)
    into, out_of = vae.quant_conv, vae.post_quant_conv
    into.weight[:channels].div_(scale.view(-1, 1, 1, 1))
    into.bias[:channels].sub_(offset).div_(scale)
    into.bias[channels:].sub_(2 * scale.log())
    out_of.bias.add_(out_of.weight[:, :, 0, 0] @ offset)
    out_of.weight.mul_(scale.view(1, -1, 1, 1))
    vae.register_to_config(scaling_factor=1.0)


@torch.no_grad()
def _encode_all(
    vae: AutoencoderKL, pictures: Pictures, to_encode: list[Drawing], device: torch.device, seed: int
) -> tuple[Tensor, Tensor]:
    """Two tensors (drawings x backgrounds, 16, 8, 8): the posteriors' means and standard deviations."""
    generator = random.Random(seed)
    # All in one place and of one size: a shift by less than a latent's eight pixels changes every latent, which a small
    # denoiser takes much longer to learn than what the things look like.
    means, stds = [], []
    at_once = _BATCH // len(BACKGROUNDS)
    for start in track(range(0, len(to_encode), at_once), description="latents"):
        some = to_encode[start : start + at_once]
        rasters = [drawing.pixels(pictures.rasters) for drawing in some]
        pixels = np.stack(
            [compose(raster, Placement.centred(generator, colour)) for raster in rasters for colour in BACKGROUNDS]
        )
        posterior = vae.encode(vae_stage.to_tensor(pixels).to(device)).latent_dist
        means.append(posterior.mean.cpu())
        stds.append(posterior.std.cpu())
    return torch.cat(means), torch.cat(stds)
