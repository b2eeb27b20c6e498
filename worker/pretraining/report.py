"""Stage `report`: the figures that tell whether the base is fit to ship."""

import json
import random
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from worker.pretraining import vae as vae_stage
from worker.pretraining.colours import BACKGROUNDS, nearest_background
from worker.pretraining.data import Pictures
from worker.pretraining.icon_sets import PRETRAINING_SETS
from worker.pretraining.rare_tokens import PROMPTS, RARE_TOKENS, rare_token_states
from worker.pretraining.sheet import generate

_BATCH = 40


@torch.no_grad()
def rare_token_cosines(text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, prompt: str) -> Tensor:
    """(64, 64) cosines between the encoder's outputs at the token's place, one prompt per rare token; diagonal 0."""
    states = rare_token_states(text_encoder, tokenizer, prompt, RARE_TOKENS)
    return (states @ states.T).fill_diagonal_(0.0)


def background_accuracy(pipeline: StableDiffusionPipeline, names: list[str], count: int = 240) -> float:
    """The share of pictures whose corners are nearest to the colour that was asked for, of the twelve.

    Prompts over pretrained names, sets and colours.
    """
    generator = random.Random(0)
    colours = [generator.choice(list(BACKGROUNDS)) for _ in range(count)]
    prompts = [
        f"a {generator.choice(PRETRAINING_SETS).noun} icon of a {generator.choice(names)} on a {colour} background"
        for colour in colours
    ]
    right = 0
    for start in range(0, count, _BATCH):
        images = generate(pipeline, prompts[start : start + _BATCH], seed=start)
        right += sum(nearest_background(np.asarray(i)) == c for i, c in zip(images, colours[start:], strict=False))
    return right / count


def write(work_dir: Path, folder: Path) -> dict[str, float]:
    """Measure the exported model in `folder`; print to and return from `figures.json` in the working directory."""
    pictures = Pictures.load(work_dir)
    vae = AutoencoderKL.from_pretrained(folder / "vae", dtype=torch.float32)
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    figures = {
        "psnr_pretrained_db": vae_stage.psnr(vae, pictures, pictures.for_pretraining),
        "psnr_held_out_sets_db": vae_stage.psnr(vae, pictures, pictures.of_held_out_sets),
        "psnr_held_out_names_db": vae_stage.psnr(vae, pictures, pictures.of_held_out_names),
    }
    for prompt in PROMPTS:
        figures[f"max rare token cosine, {prompt}"] = float(rare_token_cosines(text_encoder, tokenizer, prompt).max())
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    names = sorted({picture.name for picture in pictures.for_pretraining})
    figures["background accuracy"] = background_accuracy(pipeline, names)
    figures["size_mb"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    (work_dir / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    return figures
