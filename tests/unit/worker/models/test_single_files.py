"""A checkpoint in one file, as most people have them: the same base as the folder that it was made from."""

import json
import shutil
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.domain.base_models import Family
from tests.single_checkpoints import checkpoint_of
from tests.tiny_pipelines import tiny_sd, write_tiny_sd
from tests.tiny_sdxl import tiny_sdxl, write_tiny_sdxl
from worker.models.base import Base, Sampling
from worker.models.base_model_errors import UnfitBaseError
from worker.models.loading import fingerprint, load_base

_SECOND_WIDTH = 48


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """`tiny.safetensors`, and beside it the folder `tiny` of configurations and tokenizers, without weights."""
    write_tiny_sd(tmp_path / "tiny")
    for weights in (tmp_path / "tiny").rglob("*.safetensors"):
        weights.unlink()
    save_file(checkpoint_of(tiny_sd()), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def xl_checkpoint(tmp_path: Path) -> Path:
    """The same of SDXL."""
    write_tiny_sdxl(tmp_path / "tiny-xl", second_width=_SECOND_WIDTH)
    for weights in (tmp_path / "tiny-xl").rglob("*.safetensors"):
        weights.unlink()
    save_file(checkpoint_of(tiny_sdxl(second_width=_SECOND_WIDTH)), tmp_path / "tiny-xl.safetensors")
    return tmp_path / "tiny-xl.safetensors"


def load(source: Path, dtype: torch.dtype = torch.float32, family: Family = Family.SD) -> Base:
    return load_base(family, str(source), torch.device("cpu"), dtype)


def drawn(base: Base) -> bytes:
    sampling = Sampling(prompt="a cat", negative_prompt=None, steps=2, guidance_scale=2.0, width=64, height=64)
    return base.sample(sampling, [torch.Generator().manual_seed(0)], lambda *_: None)[0].tobytes()


def test_it_draws_what_the_folder_draws(checkpoint: Path, tmp_path: Path) -> None:
    write_tiny_sd(tmp_path / "whole")
    assert drawn(load(checkpoint)) == drawn(load(tmp_path / "whole"))
    half = load(checkpoint, torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert half.encode_images(torch.zeros(1, 3, 64, 64)).mean.dtype == torch.float32


def test_a_checkpoint_of_sdxl_draws_what_the_folder_draws(
    xl_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both text encoders, and from local configurations only: nothing opens a connection."""
    monkeypatch.setattr(socket.socket, "connect", _no_network)
    write_tiny_sdxl(tmp_path / "whole", second_width=_SECOND_WIDTH)
    found = load(xl_checkpoint, family=Family.SDXL)
    wanted = load(tmp_path / "whole", family=Family.SDXL)
    assert drawn(found) == drawn(wanted)
    assert found.fingerprint == fingerprint(Family.SDXL, str(xl_checkpoint))


def test_a_checkpoint_of_another_family_is_named(xl_checkpoint: Path, checkpoint: Path) -> None:
    for source, family in ((xl_checkpoint, Family.SD), (checkpoint, Family.SDXL)):
        with pytest.raises(UnfitBaseError):
            load(source, family=family)


def _no_network(*_: object) -> None:
    raise AssertionError("a connection was opened")


def test_its_fingerprint_is_that_of_its_content(checkpoint: Path, tmp_path: Path) -> None:
    first = fingerprint(Family.SD, str(checkpoint))
    assert load(checkpoint).fingerprint == first
    shutil.copytree(tmp_path / "tiny", tmp_path / "other")
    shutil.copy(checkpoint, tmp_path / "other.safetensors")
    assert fingerprint(Family.SD, str(tmp_path / "other.safetensors")) == first
    tensors = load_file(checkpoint)
    tensors["model.diffusion_model.out.2.bias"] += 1
    save_file(tensors, checkpoint)
    assert fingerprint(Family.SD, str(checkpoint)) != first


def test_without_configurations_nothing_is_fetched(checkpoint: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "tiny")
    with pytest.raises(UnfitBaseError, match="in a folder of its name"):
        load(checkpoint)


def test_an_inpainting_checkpoint_is_named_whatever_its_configurations_say(checkpoint: Path, tmp_path: Path) -> None:
    tensors = load_file(checkpoint)
    name = "model.diffusion_model.input_blocks.0.0.weight"
    save_file(tensors | {name: torch.zeros(16, 9, 3, 3)}, checkpoint)
    assert json.loads((tmp_path / "tiny" / "unet" / "config.json").read_text())["in_channels"] == 4
    with pytest.raises(UnfitBaseError, match="takes 9 channels where latents have 4: it is made for inpainting"):
        load(checkpoint)


@pytest.mark.parametrize("ending", [".ckpt", ".pt", ".bin"])
def test_a_pickled_checkpoint_is_never_read(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"tiny{ending}").write_bytes(b"\x80\x04cposix\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(UnfitBaseError, match="never read"):
        load(tmp_path / f"tiny{ending}")
