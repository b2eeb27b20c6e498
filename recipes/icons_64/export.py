"""Stage `export`: the trained parts as a folder that plain diffusers loads, and the manifest that Palimpsest reads."""

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline

from app.domain.base_models import BaseModelManifest, Family
from app.domain.evaluations import Alignment, EvaluationProtocol
from recipes.icons_64 import diffusion, tokenizer
from recipes.icons_64.pictures import RESOLUTION
from recipes.icons_64.rare_tokens import RARE_TOKENS

_EVALUATED_ON = ("white", "blue", "yellow", "green")
_SUBJECTS = ("mushroom", "red apple", "soccer ball", "wrapped gift")
_NEUTRAL_PROMPTS = (
    "a noto icon of a pineapple on a blue background",
    "a photo of a bus, twemoji style, yellow background",
    "a fluent icon of a cookie on a white background",
    "an icon of a penguin in emojione style on a red background",
    "a blob style image of a rose on a green background",
    "a photo of a castle on a grey background",
    "a picture of a grinning face on a purple background",
    "a drawing of a fox with an orange background",
)
# Backgrounds that the pixels tell, and subjects that it can draw; few and quickly drawn, as two cores allow.
_EVALUATION = EvaluationProtocol(
    object_prompts=tuple(f"a photo of {{concept}} on a {colour} background" for colour in _EVALUATED_ON),
    style_prompts=tuple(
        f"{{concept}} image of a {subject} on a {colour} background"
        for subject, colour in zip(_SUBJECTS, _EVALUATED_ON, strict=True)
    ),
    steps=10,
    guidance_scale=3.0,
    alignment=Alignment.BACKGROUND,
)
_LICENSE = (
    "Apache-2.0 for the weights; trained on icons under MIT (fluent-emoji-flat), Apache-2.0 (noto, noto-v1) and "
    "CC-BY-4.0 (twemoji, emojione); attribution in NOTICE"
)


def manifest() -> BaseModelManifest:
    return BaseModelManifest(
        name="icons-64",
        family=Family.SD,
        resolution=RESOLUTION,
        rare_tokens=RARE_TOKENS,
        default_steps=25,
        default_guidance_scale=3.0,
        neutral_prompts=_NEUTRAL_PROMPTS,
        evaluation=_EVALUATION,
        license=_LICENSE,
    )


def build_pipeline(work_dir: Path) -> StableDiffusionPipeline:
    """The averaged weights of the last checkpoints, finished or not, in fp32."""
    painter = diffusion.load(work_dir)
    return StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(work_dir / "vae"),
        text_encoder=painter.text_encoder,
        tokenizer=tokenizer.load(work_dir),
        unet=painter.unet,
        scheduler=diffusion.noise_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def export(work_dir: Path, folder: Path) -> None:
    """Write fp16 safetensors and `palimpsest.json` into `folder`."""
    build_pipeline(work_dir).to(torch.float16).save_pretrained(folder, safe_serialization=True)
    # Transformers loads at the stored type and diffusers in fp32: a pipeline that is told no type would hold both.
    _amend(folder / "text_encoder" / "config.json", {"dtype": "float32"})
    # Diffusers writes down where the weights came from, which is a path on the machine that trained them.
    _amend(folder / "vae" / "config.json", {"_name_or_path": "icons-64"})
    (folder / "palimpsest.json").write_text(manifest().model_dump_json(indent=2) + "\n", encoding="utf-8")


def _amend(config_file: Path, values: dict[str, str]) -> None:
    config = {**json.loads(config_file.read_text()), **values}
    config_file.write_text(json.dumps(config, indent=2) + "\n")


def adopt(folder: Path, work_dir: Path) -> None:
    """The reverse: a new run of `latents` and `unet` begins from the exported model, in a directory without a run."""
    if any((work_dir / name).exists() for name in ("vae", "tokenizer", diffusion.START, "unet.pt")):
        raise FileExistsError(f"{work_dir} holds a run already; choose another --work-dir")
    for part in ("vae", "tokenizer"):
        shutil.copytree(folder / part, work_dir / part)
    for part in ("text_encoder", "unet"):
        shutil.copytree(folder / part, work_dir / diffusion.START / part)
