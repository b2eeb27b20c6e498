"""The stage `unet`: what a run learns that is new, and one that goes on from a finished model."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.experiments.laboratory import EMBEDDED_BASE
from worker.pretraining import diffusion, tokenizer
from worker.pretraining.colours import BACKGROUNDS
from worker.pretraining.data import Picture
from worker.pretraining.export import adopt
from worker.pretraining.icon_sets import PRETRAINING_SETS
from worker.pretraining.split import class_nouns, load_split
from worker.pretraining.training import Schedule

_CPU = torch.device("cpu")


@pytest.fixture
def work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run from the shipped model, over noise in place of two things' latents, in small batches."""
    adopt(EMBEDDED_BASE, tmp_path)
    things = sorted(class_nouns().keys() - load_split().held_out_names)[:2]
    shown = [(icon_set.name, thing) for thing in things for icon_set in PRETRAINING_SETS]
    index = [asdict(Picture(set_name, thing, row)) for row, (set_name, thing) in enumerate(shown)]
    (tmp_path / "index.json").write_text(json.dumps(index))
    np.save(tmp_path / "rasters.npy", np.zeros((len(index), 1, 1, 4), np.uint8))
    shape = (len(index), len(BACKGROUNDS), 16, 8, 8)
    torch.save({"mean": torch.randn(shape).half(), "std": torch.zeros(shape).half()}, tmp_path / "latents.pt")
    monkeypatch.setattr(diffusion, "_BATCH", 4)
    return tmp_path


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(before: dict[str, Tensor], after: torch.nn.Module) -> bool:
    return any(not torch.equal(before[name], tensor) for name, tensor in after.state_dict().items())


def test_a_run_that_goes_on_teaches_the_denoiser_and_leaves_the_words(work_dir: Path) -> None:
    shipped = diffusion.adopted(work_dir)
    text, unet = weights(shipped.text_encoder), weights(shipped.unet)
    diffusion.train(work_dir, Schedule(total_steps=2, warmup_steps=1), _CPU)
    trained = diffusion.load(work_dir)
    assert not changed(text, trained.text_encoder)
    assert changed(unet, trained.unet)


def test_a_new_run_teaches_both(work_dir: Path) -> None:
    shutil.rmtree(work_dir / diffusion.START)
    torch.manual_seed(0)
    new = diffusion.Painter(tokenizer.load(work_dir))
    text, unet = weights(new.text_encoder), weights(new.unet)
    diffusion.train(work_dir, Schedule(total_steps=2, warmup_steps=1), _CPU, seed=0)
    trained = diffusion.load(work_dir)
    assert changed(text, trained.text_encoder)
    assert changed(unet, trained.unet)
