"""Loading a base model of each family, and what is told when it cannot be loaded."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import EDMEulerScheduler

from app.domain.base_models import BaseModelManifest, Family
from tests.tiny_pipelines import write_tiny_sd
from tests.tiny_sdxl import write_tiny_sdxl
from worker.models.base import Base
from worker.models.base_model_errors import BaseModelError
from worker.models.loading import fingerprint, load_base

CPU = torch.device("cpu")
WRITERS: dict[Family, Callable[[Path], BaseModelManifest]] = {Family.SD: write_tiny_sd, Family.SDXL: write_tiny_sdxl}


@pytest.fixture(params=list(Family))
def family(request: pytest.FixtureRequest) -> Family:
    return Family(request.param)


@pytest.fixture
def folder(family: Family, tmp_path: Path) -> Path:
    WRITERS[family](tmp_path / "tiny")
    return tmp_path / "tiny"


def load(family: Family, folder: Path, dtype: torch.dtype = torch.float32) -> Base:
    return load_base(family, str(folder), CPU, dtype)


def test_a_loaded_base_is_frozen(family: Family, folder: Path) -> None:
    base = load(family, folder)
    assert not base.denoiser.training
    assert not any(parameter.requires_grad for parameter in base.denoiser.parameters())
    assert (base.device, base.dtype) == (CPU, torch.float32)


def test_half_precision_is_for_all_but_the_vae(family: Family, folder: Path) -> None:
    base = load(family, folder, torch.bfloat16)
    assert base.dtype == torch.bfloat16
    assert {tensor.dtype for tensor in base.encode_prompts(["a cat"]).tensors.values()} == {torch.bfloat16}
    assert base.encode_images(torch.zeros(1, 3, 64, 64)).mean.dtype == torch.float32


def test_the_fingerprint_is_that_of_the_files_that_count(family: Family, folder: Path) -> None:
    first = fingerprint(family, str(folder))
    assert load(family, folder).fingerprint == first
    (folder / "palimpsest.json").write_text("{}")
    (folder / "README.md").write_text("about")
    assert fingerprint(family, str(folder)) == first


def test_every_weight_counts(family: Family, folder: Path) -> None:
    first = fingerprint(family, str(folder))
    for weights in sorted(folder.rglob("*.safetensors")):
        content = weights.read_bytes()
        weights.write_bytes(content[:-1] + b"\x5a")
        assert fingerprint(family, str(folder)) != first, weights
        weights.write_bytes(content)
    assert fingerprint(family, str(folder)) == first


def test_the_fingerprint_knows_nothing_of_where_the_folder_is(family: Family, tmp_path: Path, folder: Path) -> None:
    WRITERS[family](tmp_path / "elsewhere")
    assert fingerprint(family, str(tmp_path / "elsewhere")) == fingerprint(family, str(folder))


def test_the_prediction_type_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    write_tiny_sd(tmp_path / "v", "v_prediction")
    write_tiny_sd(tmp_path / "epsilon", "epsilon")
    assert fingerprint(Family.SD, str(tmp_path / "epsilon")) != fingerprint(Family.SD, str(tmp_path / "v"))


@pytest.mark.parametrize("name", ["no/such/folder", "/no/such/folder"])
def test_nothing_there(name: str) -> None:
    with pytest.raises(BaseModelError, match="neither a folder nor a hub repository"):
        load(Family.SD, Path(name))


def test_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="no readable model_index"):
        load(Family.SD, tmp_path)


def test_another_family(family: Family, folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_bytes())
    for other in set(Family) - {family}:
        with pytest.raises(BaseModelError, match=rf"is a {index['_class_name']}, but the family '{other}' is \w+\.$"):
            load(other, folder)


def test_another_kind_of_noise_schedule(family: Family, folder: Path) -> None:
    """Playground v2.5 is such: of SDXL's pipeline class, but trained in EDM's way."""
    EDMEulerScheduler().save_pretrained(folder / "scheduler")
    index = json.loads((folder / "model_index.json").read_bytes())
    (folder / "model_index.json").write_text(json.dumps({**index, "scheduler": ["diffusers", "EDMEulerScheduler"]}))
    with pytest.raises(BaseModelError, match="noise schedule, EDMEulerScheduler, is not that of its family"):
        load(family, folder)


def test_a_missing_part(family: Family, folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(BaseModelError, match="cannot be loaded") as caught:
        load(family, folder)
    assert "\n" not in caught.value.detail


def test_damaged_weights(family: Family, folder: Path) -> None:
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[: 1 << 10])
    with pytest.raises(BaseModelError, match="cannot be loaded"):
        load(family, folder)


def test_pickled_weights_are_not_read(family: Family, folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(BaseModelError, match="cannot be loaded"):
        load(family, folder)
