"""Stage `latents`: each picture on each background once, as the parameters of the autoencoder's posterior."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from rich.progress import track
from torch import Tensor

from recipes.icons_64 import vae as vae_stage
from recipes.icons_64.captions import SET_NOUNS, Shown
from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.pictures import Placement, compose
from recipes.icons_64.split import class_nouns
from worker.evaluation.colours import BACKGROUNDS

_FILE = "latents.pt"
_BATCH = 64


@dataclass(frozen=True)
class Latents:
    """`mean`, `std`: (pictures, backgrounds, 16, 8, 8) fp16; `pictures`: what each row shows."""

    mean: Tensor
    std: Tensor
    pictures: list[Picture]

    @classmethod
    def load(cls, work_dir: Path) -> "Latents":
        state = torch.load(work_dir / _FILE, weights_only=True)
        return cls(state["mean"], state["std"], Pictures.load(work_dir).for_generator)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, list[Shown]]:
        """(count, 16, 8, 8) fp32 samples of the posteriors, and what they show."""
        rows = torch.randint(len(self.pictures), (count,), generator=generator)
        columns = torch.randint(len(BACKGROUNDS), (count,), generator=generator)
        mean, std = self.mean[rows, columns].float(), self.std[rows, columns].float()
        latents = mean + std * torch.randn(mean.shape, generator=generator)
        colours = list(BACKGROUNDS)
        return latents, [
            _shown(self.pictures[row], colours[column])
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        ]


def _shown(picture: Picture, background: str) -> Shown:
    return Shown(SET_NOUNS[picture.set_name], picture.name, class_nouns().get(picture.name), background)


def prepare(work_dir: Path, device: torch.device, seed: int = 0) -> None:
    """Encode all pictures of the generator, standardise the autoencoder by what comes out, and save both.

    An autoencoder that was saved before is a standardised one. Does nothing where the latents exist.
    """
    if (work_dir / _FILE).exists():
        return
    pictures = Pictures.load(work_dir)
    if (work_dir / "vae").exists():
        vae = AutoencoderKL.from_pretrained(work_dir / "vae").to(device)
        mean, std = _encode_all(vae, pictures, device, seed)
    else:
        vae = vae_stage.load(work_dir).to(device)
        mean, std = _encode_all(vae, pictures, device, seed)
        offset, scale = mean.mean((0, 2, 3)), spread(mean, std)
        standardise(vae, offset.to(device), scale.to(device))
        vae.save_pretrained(work_dir / "vae")
        mean = (mean - offset.view(1, -1, 1, 1)) / scale.view(1, -1, 1, 1)
        std = std / scale.view(1, -1, 1, 1)
    shape = (len(pictures.for_generator), len(BACKGROUNDS), *mean.shape[1:])
    partial = work_dir / f"{_FILE}.partial"
    torch.save({"mean": mean.half().view(shape), "std": std.half().view(shape)}, partial)
    partial.replace(work_dir / _FILE)


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
def _encode_all(vae: AutoencoderKL, pictures: Pictures, device: torch.device, seed: int) -> tuple[Tensor, Tensor]:
    """Two tensors (pictures x backgrounds, 16, 8, 8): the posteriors' means and standard deviations."""
    generator = random.Random(seed)
    # All in one place and of one size: a shift by less than a latent's eight pixels changes every latent, which a small
    # denoiser takes much longer to learn than what the things look like.
    jobs = [(p.row, Placement.centred(generator, colour)) for p in pictures.for_generator for colour in BACKGROUNDS]
    means, stds = [], []
    for start in track(range(0, len(jobs), _BATCH), description="latents"):
        pixels = np.stack([compose(pictures.rasters[row], place) for row, place in jobs[start : start + _BATCH]])
        posterior = vae.encode(vae_stage.to_tensor(pixels).to(device)).latent_dist
        means.append(posterior.mean.cpu())
        stds.append(posterior.std.cpu())
    return torch.cat(means), torch.cat(stds)
