"""Tiny random base models of the real pipeline classes, built in well under two seconds.

Random weights draw nothing that a person would recognise; they are for the job path and the algebra, never for quality.
"""

from functools import cache
from pathlib import Path
from string import ascii_lowercase, digits
from typing import Literal

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from app.domain.base_models import BaseModelManifest, Family
from app.domain.evaluations import EvaluationProtocol
from app.domain.training import TrainingOverrides
from worker.models.sd import StableDiffusionBase

PredictionType = Literal["epsilon", "v_prediction", "sample"]

RARE_TOKENS = ("zqa", "zqb", "zqc", "zqd", "zqe", "zqf")
_WORDS = ("a", "photo", "of", "style", "image", "icon", "on", "background", "cat", "dog", "cup", "red", "blue")
TEXT_WIDTH = 32
_MAX_TOKENS = 24


def write_tiny_sd(folder: Path, prediction_type: PredictionType = "v_prediction") -> BaseModelManifest:
    """Write a tiny `StableDiffusionPipeline` folder with its `palimpsest.json`; the same bytes each time.

    Pictures have 64 pixels a side, latents 4 channels of 8 x 8.
    """
    return write_base(folder, tiny_sd(prediction_type), "tiny-sd", Family.SD)


def write_base(folder: Path, pipeline: DiffusionPipeline, name: str, family: Family) -> BaseModelManifest:
    """Write the pipeline's files, and its manifest beside them."""
    pipeline.save_pretrained(folder, safe_serialization=True)
    manifest = BaseModelManifest(
        name=name,
        family=family,
        resolution=64,
        rare_tokens=RARE_TOKENS,
        default_steps=4,
        default_guidance_scale=2.0,
        training_defaults=TrainingOverrides(rank=2, steps=8, batch_size=2, learning_rate=1e-2),
        neutral_prompts=("a photo of a cat",),
        evaluation=EvaluationProtocol(
            object_prompts=("a photo of {concept}",),
            style_prompts=("{concept} image of a cat",),
            samples_per_prompt=2,
            steps=2,
            guidance_scale=1.0,
        ),
        license="Apache-2.0",
    )
    (folder / "palimpsest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return manifest


def tiny_sd(prediction_type: PredictionType = "v_prediction") -> StableDiffusionPipeline:
    """The pipeline itself, in fp32 on the CPU, with the same random weights each time."""
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return StableDiffusionPipeline(
            vae=tiny_vae(),
            text_encoder=CLIPTextModel(tiny_text_config(tokenizer)).eval(),
            tokenizer=tokenizer,
            unet=_unet(),
            scheduler=_noise_scheduler(prediction_type),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


@cache
def tiny_base(prediction_type: PredictionType = "v_prediction") -> StableDiffusionBase:
    """The loaded base around that pipeline, shared by all tests of a process: each leaves it as it was."""
    return StableDiffusionBase(tiny_sd(prediction_type), fingerprint=f"tiny-sd {prediction_type}")


def tiny_tokenizer(**special_tokens: str) -> CLIPTokenizer:
    """A CLIP byte-pair tokenizer that spells unknown words, and has a token of its own for each known one."""
    characters = ascii_lowercase + digits + "-,.'"
    entries = ["<|startoftext|>", "<|endoftext|>", *characters, *(f"{character}</w>" for character in characters)]
    merges: list[tuple[str, str]] = []
    for word in (*_WORDS, *RARE_TOKENS):
        left = word[0]
        for character in word[1:-1]:
            merges.append((left, character))
            left += character
        if len(word) > 1:
            merges.append((left, f"{word[-1]}</w>"))
    entries += ["".join(pair) for pair in merges]
    vocabulary = {entry: number for number, entry in enumerate(dict.fromkeys(entries))}
    distinct = list(dict.fromkeys(merges))
    return CLIPTokenizer(vocab=vocabulary, merges=distinct, model_max_length=_MAX_TOKENS, **special_tokens)


def tiny_text_config(tokenizer: CLIPTokenizer, width: int = TEXT_WIDTH, **changes: str | int) -> CLIPTextConfig:
    """A text encoder of two layers for that tokenizer."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=_MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **changes,
    )


def tiny_vae(latent_channels: int = 4, **changes: float) -> AutoencoderKL:
    """Pictures of 64 pixels a side to latents of 8, as all Stable Diffusion VAEs shrink them."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=2,
        sample_size=64,
        **changes,
    ).eval()


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=TEXT_WIDTH,
    ).eval()


def _noise_scheduler(prediction_type: PredictionType) -> DDIMScheduler:
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )
