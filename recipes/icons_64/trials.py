"""Stage `trials`: which denoiser learns fastest, at equal samples, judged by the error at t = 999 on 100 names."""

import csv
import logging
from collections.abc import Mapping
from pathlib import Path

import torch

from recipes.icons_64 import diffusion
from recipes.icons_64.diffusion import Recipe
from recipes.icons_64.training import Schedule

_log = logging.getLogger(__name__)
_NAMES = 100
# What a trial reads of the run's folder.
_SHARED = ("tokenizer", "latents.pt", "index.json", "rasters.npy")
ARMS: Mapping[str, Recipe] = {
    "plain": Recipe(pooled=False, contrast=0.0),
    "pooled": Recipe(pooled=True, contrast=0.0),
    "pooled-contrast": Recipe(pooled=True, contrast=0.05),
    "pooled-contrast-noisier": Recipe(pooled=True, contrast=0.05, tilt=0.3),
}


def run(work_dir: Path, steps: int, device: torch.device) -> None:
    """Train each arm for `steps` in a folder of its own and log the last row of its gates; a finished arm is kept.

    All steps are on the plateau, as a trial stops long before a run's decay.
    """
    for name, recipe in ARMS.items():
        folder = work_dir / "trials" / name
        folder.mkdir(parents=True, exist_ok=True)
        for part in _SHARED:
            if not (folder / part).exists():
                (folder / part).symlink_to(work_dir / part)
        diffusion.train(folder, Schedule(steps, decay_share=1e-9), device, recipe, _NAMES)
        with (folder / diffusion.GATES).open(newline="") as file:
            _log.info("%s: %s", name, list(csv.DictReader(file))[-1])
