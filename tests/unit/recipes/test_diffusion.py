"""The stage `unet`: what a run learns that is new, and one that goes on from a finished model."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.experiments.laboratory import EMBEDDED_BASE
from recipes.icons_64 import diffusion
from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.export import adopt
from recipes.icons_64.icon_sets import NAMING_SETS, PRETRAINING_SETS
from recipes.icons_64.latents import drawings
from recipes.icons_64.optimizers import split_optimizers
from recipes.icons_64.split import class_nouns, load_split
from recipes.icons_64.training import Schedule
from worker.evaluation.colours import BACKGROUNDS

_CPU = torch.device("cpu")


@pytest.fixture
def work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run from the shipped model, over noise in place of two things' latents, in small batches."""
    adopt(EMBEDDED_BASE, tmp_path)
    things = sorted(class_nouns().keys() - load_split().held_out_names)[:2]
    sets = dict.fromkeys(icon_set.name for icon_set in (*PRETRAINING_SETS, *NAMING_SETS))
    shown = [(set_name, thing) for thing in things for set_name in sets]
    index = [asdict(Picture(set_name, thing, row)) for row, (set_name, thing) in enumerate(shown)]
    (tmp_path / "index.json").write_text(json.dumps(index))
    np.save(tmp_path / "rasters.npy", np.zeros((len(index), 1, 1, 4), np.uint8))
    shape = (len(drawings(Pictures.load(tmp_path), load_split())), len(BACKGROUNDS), 16, 8, 8)
    torch.save({"mean": torch.randn(shape).half(), "std": torch.zeros(shape).half()}, tmp_path / "latents.pt")
    monkeypatch.setattr(diffusion, "_BATCH", 4)
    return tmp_path


@dataclass
class Begun:
    """What a run began with: its models' weights, and its peak learning rates."""

    text: dict[str, Tensor] = field(default_factory=dict)
    unet: dict[str, Tensor] = field(default_factory=dict)
    rates: tuple[float, float] = (0.0, 0.0)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Begun:
    """Filled in when a run builds its optimizers."""
    noted = Begun()

    def spy(
        painter: diffusion.Painter,
        muon_lr: float,
        adam_lr: float,
        adam_only: Iterable[nn.Parameter],
        muon_decay: float,
    ) -> list[torch.optim.Optimizer]:
        noted.text, noted.unet = weights(painter.text_encoder), weights(painter.unet)
        noted.rates = (muon_lr, adam_lr)
        return split_optimizers(painter, muon_lr, adam_lr, adam_only, muon_decay)

    monkeypatch.setattr(diffusion, "split_optimizers", spy)
    return noted


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(before: dict[str, Tensor], after: nn.Module) -> bool:
    return any(not torch.equal(before[name], tensor) for name, tensor in after.state_dict().items())


def test_a_run_that_goes_on_teaches_the_denoiser_and_leaves_the_words(work_dir: Path, begun: Begun) -> None:
    diffusion.train(work_dir, Schedule(total_steps=2, warmup_steps=1), _CPU)
    trained = diffusion.load(work_dir)
    assert not changed(begun.text, trained.text_encoder)
    assert changed(begun.unet, trained.unet)
    shipped = load_file(EMBEDDED_BASE / "unet" / "diffusion_pytorch_model.safetensors")
    assert torch.equal(begun.unet["conv_in.weight"], shipped["conv_in.weight"].float())


def test_a_new_run_teaches_both_at_twice_the_rates(work_dir: Path, begun: Begun) -> None:
    diffusion.train(work_dir, Schedule(total_steps=1, warmup_steps=1), _CPU)
    going_on = begun.rates
    shutil.rmtree(work_dir / diffusion.START)
    (work_dir / "unet.pt").unlink()
    diffusion.train(work_dir, Schedule(total_steps=2, warmup_steps=1), _CPU)
    trained = diffusion.load(work_dir)
    assert changed(begun.text, trained.text_encoder)
    assert changed(begun.unet, trained.unet)
    assert begun.rates == pytest.approx([2 * rate for rate in going_on])
