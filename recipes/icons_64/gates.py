"""The curve that decides whether a training goes on: the error in pure noise, on training pictures, all captioned.

At the last timestep (t = 999, no signal left) the caption alone decides what the picture will be. There a model that
knows its captions has an error near 0 (0.002 by the exact posterior over the known latents), one that cannot read the
style about 0.3. The gates: at most 0.20 after 2 M samples, at most 0.12 after 6 M.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from recipes.icons_64.captions import full_caption
from recipes.icons_64.latents import Latents
from recipes.icons_64.precision import mixed_precision
from recipes.icons_64.training import Run
from worker.evaluation.colours import BACKGROUNDS

_PICTURES = 512
_BATCH = 128
_LAST_TIMESTEP = 999


@dataclass
class Gates:
    """Measures each of a run's averages on the same pictures and noise, and appends a row to a CSV file."""

    file: Path
    tokenizer: CLIPTokenizer
    latents: Latents
    device: torch.device
    _fixed: tuple[Tensor, Tensor, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(999)
        rows = torch.randint(len(self.latents.drawings), (_PICTURES,), generator=generator)
        columns = torch.randint(len(BACKGROUNDS), (_PICTURES,), generator=generator)
        shown = [self.latents.shown(row, column) for row, column in zip(rows.tolist(), columns.tolist(), strict=True)]
        captions = [full_caption(each) for each in shown]
        ids = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        latents = self.latents.mean[rows, columns].float()
        self._fixed = (latents, torch.randn(latents.shape, generator=generator), ids)

    def measure(self, run: Run, model: nn.Module) -> None:
        """Append samples, seconds of training, the recent loss and each average's error at t = 999."""
        kept = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        errors = [self._error_under(average, model) for average in run.averages]
        model.load_state_dict(kept)
        row = [run.step * run.batch_size, round(run.seconds), round(run.recent_loss, 4), *(round(e, 4) for e in errors)]
        new = not self.file.exists()
        with self.file.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                names = [f"error_at_999_ema_{decay}" for decay in run.ema_decays]
                writer.writerow(["samples", "seconds", "loss", *names])
            writer.writerow(row)

    @torch.no_grad()
    def _error_under(self, weights: Mapping[str, Tensor], model: nn.Module) -> float:
        """The mean squared error of the predicted velocity, which in pure noise is minus the latents."""
        model.load_state_dict(weights)
        model.eval()
        total = 0.0
        for latents, noise, ids in zip(*(part.split(_BATCH) for part in self._fixed), strict=True):
            timesteps = torch.full((len(latents),), _LAST_TIMESTEP, device=self.device)
            with mixed_precision(self.device):
                predicted = model(noise.to(self.device), timesteps, ids.to(self.device)).float().cpu()
            total += float((predicted + latents).square().mean()) * len(latents)
        model.train()
        return total / _PICTURES


def best_average(file: Path, count: int) -> int:
    """The index of the average with the least error in the last row; the first where nothing was measured."""
    if not file.exists():
        return 0
    with file.open(newline="") as opened:
        last = list(csv.reader(opened))[-1]
    errors = [float(value) for value in last[-count:]]
    return errors.index(min(errors))
