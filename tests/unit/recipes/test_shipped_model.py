"""The base that is shipped: it loads with plain diffusers, draws, and keeps the rare tokens apart."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from app.domain.base_models import BaseModelManifest

FOLDER = Path(__file__).parents[3] / "base_models" / "icons-64"
MEGABYTE = 1e6


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def manifest() -> BaseModelManifest:
    return BaseModelManifest.model_validate_json((FOLDER / "palimpsest.json").read_text())


def test_it_is_small_and_safetensors_only() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 45 * MEGABYTE
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".txt"}


def test_no_path_of_the_training_machine_is_in_it() -> None:
    assert not any(".pretraining" in path.read_text() for path in FOLDER.rglob("*.json"))


def test_the_manifest_tells_what_training_needs(manifest: BaseModelManifest) -> None:
    assert (manifest.name, manifest.resolution, len(manifest.rare_tokens)) == ("icons-64", 64, 64)
    assert manifest.adapted_modules == ("to_q", "to_k", "to_v", "to_out.0")


def test_rare_tokens_are_single_and_told_apart(pipeline: StableDiffusionPipeline, manifest: BaseModelManifest) -> None:
    """Where all rare tokens mean the same, each new concept overwrites the last."""
    from recipes.icons_64.rare_tokens import PROMPTS, rare_token_cosines

    assert all(pipeline.tokenizer.tokenize(token) == [f"{token}</w>"] for token in manifest.rare_tokens)
    # The last two are none that the loss held them apart in.
    elsewhere = ("a noto icon of a {token} cookie on a red background", "an image of a castle in {token} style")
    for prompt in (*PROMPTS, *elsewhere):
        assert rare_token_cosines(pipeline.text_encoder, pipeline.tokenizer, prompt).max() < 0.9


def test_it_draws_the_background_that_it_is_asked_for(pipeline: StableDiffusionPipeline) -> None:
    from worker.evaluation.colours import BACKGROUNDS

    colours = ["blue", "yellow", "red", "white"]
    prompts = [f"a noto icon of a cookie on a {colour} background" for colour in colours]
    generator = torch.Generator().manual_seed(0)
    pictures = pipeline(
        prompts, num_inference_steps=10, guidance_scale=3.0, output_type="pt", generator=generator
    ).images
    assert pictures.shape == (4, 3, 64, 64)
    corners = pictures[:, :, :4, :4].mean((2, 3)) * 255
    for colour, corner in zip(colours, corners, strict=True):
        distances = {name: (corner - torch.tensor(rgb)).abs().sum() for name, rgb in BACKGROUNDS.items()}
        assert min(distances, key=lambda name: float(distances[name])) == colour


def test_the_scheduler_starts_from_pure_noise() -> None:
    config = json.loads((FOLDER / "scheduler" / "scheduler_config.json").read_text())
    assert config["prediction_type"] == "v_prediction"
    assert config["rescale_betas_zero_snr"]


def test_the_recipe_writes_the_manifest_that_is_shipped(manifest: BaseModelManifest) -> None:
    from recipes.icons_64 import export

    assert export.manifest() == manifest
