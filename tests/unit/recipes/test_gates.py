"""The error in pure noise, on models whose error is known."""

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from recipes.icons_64.data import Picture
from recipes.icons_64.gates import Gates, best_average
from recipes.icons_64.latents import Drawing, Latents
from recipes.icons_64.tokenizer import MAX_LENGTH, build
from recipes.icons_64.training import Run, Schedule
from worker.evaluation.colours import BACKGROUNDS


class Constant(nn.Module):
    """Predicts one value everywhere."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, noisy: Tensor, timesteps: Tensor, input_ids: Tensor) -> Tensor:
        assert bool((timesteps == 999).all())
        assert input_ids.shape == (len(noisy), MAX_LENGTH)
        return self.value.expand_as(noisy)


def test_the_error_is_that_of_minus_the_latents_for_each_average(tmp_path: Path) -> None:
    mean = torch.full((1, len(BACKGROUNDS), 16, 8, 8), 2.0)
    latents = Latents(mean, torch.zeros_like(mean), [Drawing(Picture("noto", "fox", 0))])
    gates = Gates(tmp_path / "gates.csv", build(["a noto icon of a fox"]), latents, torch.device("cpu"))
    model = Constant(-2.0)
    optimizers: list[torch.optim.Optimizer] = [torch.optim.SGD(model.parameters(), lr=0.0)]
    run = Run(model, optimizers, Schedule(10), tmp_path, "toy", batch_size=4, ema_decays=(0.9, 0.99))
    run.step, run.losses = 5, [0.5]
    run.averages[1]["value"].fill_(-1.0)
    gates.measure(run, model)
    with (tmp_path / "gates.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["samples"] == "20"
    assert float(row["error_at_999_ema_0.9"]) == pytest.approx(0.0)
    assert float(row["error_at_999_ema_0.99"]) == pytest.approx(1.0)
    assert model.value.item() == -2.0


def test_the_average_with_the_least_last_error_is_the_best(tmp_path: Path) -> None:
    assert best_average(tmp_path / "none.csv", 2) == 0
    (tmp_path / "gates.csv").write_text("samples,seconds,loss,a,b\n1,1,0.5,0.1,0.3\n2,2,0.4,0.2,0.15\n")
    assert best_average(tmp_path / "gates.csv", 2) == 1
