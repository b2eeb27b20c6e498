"""A checkpoint in one file, as most people have them: the same base as the folder that it was made from."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor

from app.domain.base_models import Family
from tests.tiny_pipelines import tiny_sd, write_tiny_sd
from worker.models.base import Base, Sampling
from worker.models.base_model_errors import UnfitBaseError
from worker.models.loading import fingerprint, load_base

# Of one layer a block: from diffusers' names to those of the first code of Stable Diffusion (CompVis).
_PER_LEVEL = 2
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def _unet_name(name: str, has_attention: list[bool]) -> str:
    fixed = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}
    fixed |= {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2"}
    path, _, last = name.rpartition(".")
    if path in fixed:
        return f"{fixed[path]}.{last}"
    for old, new in _RESNET.items():
        name = re.sub(rf"(resnets\.\d)\.{old}\.", rf"\1.{new}.", name)
    mid = {"mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1"}
    for old, new in (mid | {"mid_block.resnets.1": "middle_block.2"}).items():
        name = name.replace(old, new)

    def at(match: re.Match[str], base: int) -> int:
        return base + _PER_LEVEL * int(match[1]) + int(match[2])

    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", lambda m: f"input_blocks.{at(m, 1)}.0", name)
    name = re.sub(r"down_blocks\.(\d)\.attentions\.(\d)", lambda m: f"input_blocks.{at(m, 1)}.1", name)
    name = re.sub(
        r"down_blocks\.(\d)\.downsamplers\.0\.conv", lambda m: f"input_blocks.{_PER_LEVEL * (int(m[1]) + 1)}.0.op", name
    )
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"output_blocks.{at(m, 0)}.0", name)
    name = re.sub(r"up_blocks\.(\d)\.attentions\.(\d)", lambda m: f"output_blocks.{at(m, 0)}.1", name)
    return re.sub(
        r"up_blocks\.(\d)\.upsamplers\.0\.conv",
        lambda m: f"output_blocks.{_PER_LEVEL * int(m[1]) + 1}.{2 if has_attention[int(m[1])] else 1}.conv",
        name,
    )


def _vae_name(name: str) -> str:
    name = name.replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2")
    name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("conv_shortcut", "nin_shortcut")
    name = name.replace("conv_norm_out", "norm_out")
    for old, new in _VAE_ATTENTION.items():
        name = name.replace(f"mid.attn_1.{old}.", f"mid.attn_1.{new}.")
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{3 - int(m[1])}.block.{m[2]}", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample", name)


def checkpoint_of(pipeline: StableDiffusionPipeline) -> dict[str, Tensor]:
    """All weights of a tiny pipeline under the names of a single checkpoint."""
    has_attention = [hasattr(block, "attentions") for block in pipeline.unet.up_blocks]
    tensors = {
        f"model.diffusion_model.{_unet_name(name, has_attention)}": tensor
        for name, tensor in pipeline.unet.state_dict().items()
    }
    for name, tensor in pipeline.vae.state_dict().items():
        new = _vae_name(name)
        is_matrix = "attn_1" in new and tensor.ndim == 2
        tensors[f"first_stage_model.{new}"] = tensor[:, :, None, None] if is_matrix else tensor
    for name, tensor in pipeline.text_encoder.state_dict().items():
        prefix = "" if name.startswith("text_model.") else "text_model."
        tensors[f"cond_stage_model.transformer.{prefix}{name}"] = tensor
    return {name: tensor.contiguous().clone() for name, tensor in tensors.items()}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """`tiny.safetensors`, and beside it the folder `tiny` of configurations and tokenizers, without weights."""
    write_tiny_sd(tmp_path / "tiny")
    for weights in (tmp_path / "tiny").rglob("*.safetensors"):
        weights.unlink()
    save_file(checkpoint_of(tiny_sd()), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def load(source: Path, dtype: torch.dtype = torch.float32) -> Base:
    return load_base(Family.SD, str(source), torch.device("cpu"), dtype)


def drawn(base: Base) -> bytes:
    sampling = Sampling(prompt="a cat", negative_prompt=None, steps=2, guidance_scale=2.0, width=64, height=64)
    return base.sample(sampling, [torch.Generator().manual_seed(0)], lambda *_: None)[0].tobytes()


def test_it_draws_what_the_folder_draws(checkpoint: Path, tmp_path: Path) -> None:
    write_tiny_sd(tmp_path / "whole")
    assert drawn(load(checkpoint)) == drawn(load(tmp_path / "whole"))
    half = load(checkpoint, torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert half.encode_images(torch.zeros(1, 3, 64, 64)).mean.dtype == torch.float32


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
