"""Stage `vae`: the autoencoder between 64 x 64 pictures and 8 x 8 x 16 latents."""

import random
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.optimizers import split_optimizers
from recipes.icons_64.pictures import RESOLUTION, Placement, compose
from recipes.icons_64.precision import mixed_precision
from recipes.icons_64.redrawings import Redrawing, redraw
from recipes.icons_64.training import Run, Schedule
from worker.evaluation.colours import BACKGROUNDS

LATENT_CHANNELS = 16
_BATCH = 16
_MUON_LEARNING_RATE = 0.02
_ADAM_LEARNING_RATE = 2e-3
# Of these rates, for a run that begins from a finished autoencoder.
_SHARE_FROM_START = 0.25
# Latents with some width of their own are easier to denoise than points (std 0.01 to 0.03 at a tenth of this weight).
_KL_WEIGHT = 1e-3
_GRADIENT_WEIGHT = 0.5
# The decoder sees latents with up to so much noise, as it will get them from a denoiser (l-DeTok, arXiv 2507.15856).
_NOISE = 0.3
# In a quarter of each batch scaled-down latents must decode to scaled-down pictures (EQ-VAE, arXiv 2502.09509).
_SCALED_SHARE = 0.25
_SCALES = (0.5, 0.75)
_REDRAWN_SHARE = 0.2


def build() -> AutoencoderKL:
    """Wide where the picture is small: there a channel costs a sixteenth of what it costs at full size."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 128),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=4,
        sample_size=RESOLUTION,
        mid_block_add_attention=False,
    )


def draw_batch(pictures: Pictures, rows: list[Picture], count: int, seed: int) -> Tensor:
    """(count, 3, 64, 64) in -1 to 1: pictures of `rows`, some redrawn, at random places on random backgrounds."""
    generator = random.Random(seed)
    colours = list(BACKGROUNDS)
    batch = []
    for _ in range(count):
        raster = pictures.rasters[generator.choice(rows).row]
        if generator.random() < _REDRAWN_SHARE:
            raster = redraw(raster, generator.choice(list(Redrawing)))
        batch.append(compose(raster, Placement.draw(generator, generator.choice(colours))))
    return to_tensor(np.stack(batch))


def to_tensor(pixels: np.ndarray) -> Tensor:
    """(n, h, w, 3) uint8 -> (n, 3, h, w) float32 in -1 to 1."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def reconstruction_loss(vae: AutoencoderKL, batch: Tensor) -> Tensor:
    """L1 and squared error, L1 on the picture's gradients for its edges, and a trace of KL (per latent value).

    Draws from torch's global generator. No network judges the pictures: the outside judge must not be in the loss.
    """
    with mixed_precision(batch.device):
        posterior = vae.encode(batch).latent_dist
        latents = posterior.sample()
        latents = latents + _NOISE * torch.rand(len(batch), 1, 1, 1) * torch.randn_like(latents)
        scaled = int(len(batch) * _SCALED_SHARE)
        scale = _SCALES[int(torch.randint(len(_SCALES), ()))]
        plain = vae.decode(latents[scaled:]).sample.float() - batch[scaled:]
        small = vae.decode(_shrink(latents[:scaled], scale)).sample.float() - _shrink(batch[:scaled], scale)
    kl = posterior.kl().mean() / posterior.mean[0].numel()
    distance = (1 - _SCALED_SHARE) * _distance(plain) + _SCALED_SHARE * _distance(small)
    loss: Tensor = distance + _KL_WEIGHT * kl
    return loss


def _distance(error: Tensor) -> Tensor:
    """L1 for edges, squared error for the PSNR, L1 on the slopes."""
    distance: Tensor = error.abs().mean() + error.square().mean() + _GRADIENT_WEIGHT * _slopes(error)
    return distance


def _shrink(images: Tensor, scale: float) -> Tensor:
    return F.interpolate(images.float(), scale_factor=scale, mode="bilinear", antialias=True)


def _slopes(error: Tensor) -> Tensor:
    """How much an error changes from a pixel to its neighbours, on the mean; the gradient is linear, so of an error."""
    return error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()


def train(
    work_dir: Path, schedule: Schedule, device: torch.device, start: Path | None = None, seed: int = 0
) -> AutoencoderKL:
    """Train, or go on training, and return the averaged model. `start`: a finished autoencoder to begin from."""
    torch.manual_seed(seed)
    vae, share = build(), 1.0
    if start is not None:
        share = _SHARE_FROM_START
        vae.load_state_dict(AutoencoderKL.from_pretrained(start, dtype=torch.float32).state_dict())
    vae.to(device)
    pictures = Pictures.load(work_dir)
    optimizers = split_optimizers(vae, share * _MUON_LEARNING_RATE, share * _ADAM_LEARNING_RATE)
    run = Run(vae, optimizers, schedule, work_dir, "vae", _BATCH)

    def loss_of_step(step: int) -> Tensor:
        torch.manual_seed(hash((seed, step)))
        return reconstruction_loss(vae, draw_batch(pictures, pictures.for_pretraining, _BATCH, seed=step).to(device))

    run.train(loss_of_step)
    return load(work_dir).to(device)


def load(work_dir: Path) -> AutoencoderKL:
    """The averaged weights of the last checkpoint."""
    vae = build()
    vae.load_state_dict(torch.load(work_dir / "vae.pt", weights_only=True)["averages"][0])
    return vae.eval().requires_grad_(False)
