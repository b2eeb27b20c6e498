"""Stage `vae`: the autoencoder between 64 x 64 pictures and 8 x 8 x 16 latents."""

import random
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.optimizers import split_optimizers
from recipes.icons_64.pictures import RESOLUTION, Placement, compose
from recipes.icons_64.precision import mixed_precision
from recipes.icons_64.training import Run, Schedule
from worker.evaluation.colours import BACKGROUNDS

LATENT_CHANNELS = 16
_BATCH = 16
_MUON_LEARNING_RATE = 0.02
_ADAM_LEARNING_RATE = 2e-3
# Small enough to cost no sharpness, large enough to keep the latents bounded and their neighbourhoods smooth.
_KL_WEIGHT = 1e-4


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
    """(count, 3, 64, 64) in -1 to 1: pictures of `rows` at random places on random backgrounds."""
    generator = random.Random(seed)
    colours = list(BACKGROUNDS)
    batch = [
        compose(pictures.rasters[generator.choice(rows).row], Placement.draw(generator, generator.choice(colours)))
        for _ in range(count)
    ]
    return to_tensor(np.stack(batch))


def to_tensor(pixels: np.ndarray) -> Tensor:
    """(n, h, w, 3) uint8 -> (n, 3, h, w) float32 in -1 to 1."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def reconstruction_loss(vae: AutoencoderKL, batch: Tensor) -> Tensor:
    """L1 for edges, squared error for the PSNR, and a trace of KL (per latent value)."""
    with mixed_precision(batch.device):
        posterior = vae.encode(batch).latent_dist
        decoded = vae.decode(posterior.sample()).sample.float()
    error = decoded - batch
    kl = posterior.kl().mean() / posterior.mean[0].numel()
    loss: Tensor = error.abs().mean() + error.square().mean() + _KL_WEIGHT * kl
    return loss


def train(work_dir: Path, schedule: Schedule, device: torch.device, seed: int = 0) -> AutoencoderKL:
    """Train, or go on training, and return the averaged model."""
    torch.manual_seed(seed)
    vae = build().to(device)
    pictures = Pictures.load(work_dir)
    optimizers = split_optimizers(vae, _MUON_LEARNING_RATE, _ADAM_LEARNING_RATE)
    run = Run(vae, optimizers, schedule, work_dir, "vae", _BATCH)

    def loss_of_step(step: int) -> Tensor:
        torch.manual_seed(hash((seed, step)))
        return reconstruction_loss(vae, draw_batch(pictures, pictures.for_pretraining, _BATCH, seed=step).to(device))

    run.train(loss_of_step)
    return load(work_dir).to(device)


def load(work_dir: Path) -> AutoencoderKL:
    """The averaged weights of the last checkpoint."""
    vae = build()
    vae.load_state_dict(torch.load(work_dir / "vae.pt", weights_only=True)["average"])
    return vae.eval().requires_grad_(False)
