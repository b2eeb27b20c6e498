"""Loading a base model, and what is told when it cannot be loaded."""

import json
from pathlib import Path

import pytest
import torch

from app.domain.base_models import Family
from tests.tiny_pipelines import write_tiny_sd
from worker.models.errors import BaseModelError
from worker.models.loading import fingerprint, load_base

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_sd(tmp_path / "tiny")
    return tmp_path / "tiny"


def load(folder: Path) -> None:
    load_base(Family.SD, str(folder), CPU, torch.float32)


def test_a_loaded_base_is_frozen(folder: Path) -> None:
    base = load_base(Family.SD, str(folder), CPU, torch.float32)
    assert not base.denoiser.training
    assert not any(parameter.requires_grad for parameter in base.denoiser.parameters())
    assert (base.device, base.dtype) == (CPU, torch.float32)


def test_half_precision_is_for_all_but_the_vae(folder: Path) -> None:
    base = load_base(Family.SD, str(folder), CPU, torch.bfloat16)
    assert base.dtype == torch.bfloat16
    assert base.encode_images(torch.zeros(1, 3, 64, 64)).mean.dtype == torch.float32


def test_the_fingerprint_is_that_of_the_files_that_count(folder: Path) -> None:
    first = fingerprint(Family.SD, str(folder))
    assert load_base(Family.SD, str(folder), CPU, torch.float32).fingerprint == first
    (folder / "palimpsest.json").write_text("{}")
    (folder / "README.md").write_text("about")
    assert fingerprint(Family.SD, str(folder)) == first
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    assert fingerprint(Family.SD, str(folder)) != first


def test_the_fingerprint_knows_nothing_of_where_the_folder_is(tmp_path: Path, folder: Path) -> None:
    write_tiny_sd(tmp_path / "elsewhere")
    assert fingerprint(Family.SD, str(tmp_path / "elsewhere")) == fingerprint(Family.SD, str(folder))


def test_the_prediction_type_is_part_of_the_fingerprint(tmp_path: Path, folder: Path) -> None:
    write_tiny_sd(tmp_path / "epsilon", "epsilon")
    assert fingerprint(Family.SD, str(tmp_path / "epsilon")) != fingerprint(Family.SD, str(folder))


@pytest.mark.parametrize("name", ["no/such/folder", "/no/such/folder"])
def test_nothing_there(name: str) -> None:
    with pytest.raises(BaseModelError, match="neither a folder nor a hub repository"):
        load(Path(name))


def test_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="no readable model_index"):
        load(tmp_path)


def test_another_family(folder: Path) -> None:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}))
    with pytest.raises(BaseModelError, match=r"is a StableDiffusionXLPipeline, but the family 'sd' is"):
        load(folder)


def test_a_missing_part(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(BaseModelError, match="cannot be loaded") as caught:
        load(folder)
    assert "\n" not in caught.value.detail


def test_damaged_weights(folder: Path) -> None:
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[: 1 << 10])
    with pytest.raises(BaseModelError, match="cannot be loaded"):
        load(folder)


def test_pickled_weights_are_not_read(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(BaseModelError, match="cannot be loaded"):
        load(folder)
