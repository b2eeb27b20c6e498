"""Bases saved under a family's class that are something else: named as what they are, before their weights are read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from app.domain.base_configs import read_configs, unfit
from app.domain.base_models import Family
from tests.tiny_pipelines import write_tiny_sd
from tests.tiny_sdxl import write_tiny_sdxl
from worker.models.base import Sampling
from worker.models.base_model_errors import BaseModelError, UnfitBaseError
from worker.models.loading import load_base
from worker.outcomes import describe

Edit = tuple[str, dict[str, Any]]
UNET, VAE, SCHEDULER = "unet/config.json", "vae/config.json", "scheduler/scheduler_config.json"
INDEX, SECOND = "model_index.json", "text_encoder_2/config.json"
BOTH: list[tuple[Edit, str]] = [
    ((UNET, {"in_channels": 9}), "made for inpainting"),
    ((UNET, {"in_channels": 8}), "made for editing pictures"),
    ((UNET, {"in_channels": 5}), "made for another use"),
    ((UNET, {"out_channels": 8}), "gives 8 channels"),
    ((VAE, {"latent_channels": 16}), "where latents have 16"),
    ((UNET, {"cross_attention_dim": 1234}), "reads texts of width 1234"),
    ((SCHEDULER, {"prediction_type": "flow_prediction"}), "predicts 'flow_prediction'"),
    ((INDEX, {"_class_name": "FluxPipeline"}), "is a FluxPipeline"),
]
XL: list[tuple[Edit, str]] = [
    ((INDEX, {"requires_aesthetics_score": True}), "is a refiner"),
    ((INDEX, {"text_encoder": [None, None], "tokenizer": [None, None]}), "is a refiner"),
    ((UNET, {"projection_class_embeddings_input_dim": 2560}), "wants 2560 numbers about a picture"),
    ((SECOND, {"hidden_size": 1280}), "its text encoders write"),
]
SD: list[tuple[Edit, str]] = [((UNET, {"addition_embed_type": "text_time"}), "wants more than a prompt")]
CASES = [(Family.SD, *case) for case in (*BOTH, *SD)] + [(Family.SDXL, *case) for case in (*BOTH, *XL)]
WRITERS: dict[Family, Callable[[Path], object]] = {Family.SD: write_tiny_sd, Family.SDXL: write_tiny_sdxl}


def edited(folder: Path, edit: Edit) -> None:
    path = folder / edit[0]
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **edit[1]}))


@pytest.mark.parametrize(("family", "edit", "said"), CASES)
def test_what_is_wrong_is_said_and_where_is_not(family: Family, edit: Edit, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "secret-place"
    WRITERS[family](folder)
    assert unfit(family, read_configs(folder)) is None
    edited(folder, edit)
    with pytest.raises(UnfitBaseError, match=said) as caught:
        load_base(family, str(folder), torch.device("cpu"), torch.float32)
    told = describe(caught.value)
    assert (told.type, told.detail) == ("unfit-base", caught.value.detail)
    assert "secret-place" not in told.detail


def test_the_shipped_base_fits() -> None:
    assert unfit(Family.SD, read_configs(Path("base_models/icons-64"))) is None


def half_precision_folder(family: Family, folder: Path) -> None:
    """As hubs offer it: every weight's file named `.fp16.`, and no other."""
    WRITERS[family](folder)
    for path in folder.rglob("*.safetensors"):
        path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))


@pytest.mark.parametrize("family", Family)
def test_a_folder_of_the_fp16_variant_loads(family: Family, tmp_path: Path) -> None:
    half_precision_folder(family, tmp_path / "half")
    WRITERS[family](tmp_path / "plain")
    drawn = [
        load_base(family, str(tmp_path / name), torch.device("cpu"), torch.float32).sample(
            Sampling(prompt="a cat", negative_prompt=None, steps=1, guidance_scale=2.0, width=64, height=64),
            [torch.Generator().manual_seed(0)],
            lambda *_: None,
        )[0]
        for name in ("half", "plain")
    ]
    assert drawn[0].tobytes() == drawn[1].tobytes()


def test_pickles_of_the_fp16_variant_are_not_read(tmp_path: Path) -> None:
    half_precision_folder(Family.SD, tmp_path)
    weights = next((tmp_path / "unet").glob("*.safetensors"))
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(BaseModelError, match="cannot be loaded"):
        load_base(Family.SD, str(tmp_path), torch.device("cpu"), torch.float32)
