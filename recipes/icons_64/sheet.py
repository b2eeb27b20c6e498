"""Stage `sheet`: a contact sheet, rows of prompts that differ by the set's noun, columns of things."""

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from recipes.icons_64.export import manifest
from recipes.icons_64.icon_sets import PRETRAINING_SETS
from recipes.icons_64.pictures import RESOLUTION

_THINGS = (
    ("pineapple", "blue"),
    ("cookie", "white"),
    ("penguin", "yellow"),
    ("bus", "grey"),
    ("fox", "green"),
    ("rose", "black"),
    ("castle", "orange"),
    ("grinning face", "purple"),
    ("red apple", "pink"),
    ("soccer ball", "teal"),
    ("mushroom", "red"),
    ("wrapped gift", "brown"),
)


def draw(model: Path, path: Path, seed: int = 0) -> None:
    """One row per set: "a {set} icon of a {thing} on a {colour} background"."""
    pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    sheet = Image.new("RGB", (len(_THINGS) * RESOLUTION, len(PRETRAINING_SETS) * RESOLUTION))
    for row, icon_set in enumerate(PRETRAINING_SETS):
        prompts = [f"a {icon_set.noun} icon of a {thing} on a {colour} background" for thing, colour in _THINGS]
        for column, image in enumerate(generate(pipeline, prompts, seed + row)):
            sheet.paste(image, (column * RESOLUTION, row * RESOLUTION))
    path.parent.mkdir(parents=True, exist_ok=True)
    # 256 colours are a third of the bytes.
    sheet.quantize(256).save(path, optimize=True)


def generate(pipeline: StableDiffusionPipeline, prompts: list[str], seed: int) -> list[Image.Image]:
    """A picture for each prompt, 64 x 64, at the manifest's defaults."""
    defaults = manifest()
    images: list[Image.Image] = pipeline(
        prompts,
        num_inference_steps=defaults.default_steps,
        guidance_scale=defaults.default_guidance_scale,
        generator=torch.Generator().manual_seed(seed),
    ).images
    return images
