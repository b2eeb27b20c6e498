"""The tiny random base of the `sdxl` family: SDXL 1.0's configurations with fewer, narrower layers.

What sets SDXL apart is all there: two text encoders (the second one projects, and pads with another token), a UNet
whose levels have none, one and several transformer blocks, pooled states and six sizes beside its timestep, an Euler
sampler, its VAE's scaling factor, and zeros in the place of an absent negative prompt.
"""

from functools import cache
from pathlib import Path

import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from app.domain.base_models import BaseModelManifest, Family
from tests.tiny_pipelines import TEXT_WIDTH, PredictionType, tiny_text_config, tiny_tokenizer, tiny_vae, write_base
from worker.models.sdxl import StableDiffusionXLBase

_POOLED_WIDTH = 24
_SIZE_WIDTH = 8
_SIZES = 6


def write_tiny_sdxl(
    folder: Path, prediction_type: PredictionType = "epsilon", second_width: int = TEXT_WIDTH
) -> BaseModelManifest:
    """Write a tiny `StableDiffusionXLPipeline` folder with its `palimpsest.json`; the same bytes each time.

    Pictures have 64 pixels a side, latents 4 channels of 8 x 8.
    """
    return write_base(folder, tiny_sdxl(prediction_type, second_width), "tiny-sdxl", Family.SDXL)


def tiny_sdxl(prediction_type: PredictionType = "epsilon", second_width: int = TEXT_WIDTH) -> StableDiffusionXLPipeline:
    """The pipeline itself, in fp32 on the CPU, with the same random weights each time.

    `second_width`: of the second text encoder, by which diffusers tells the two of a single checkpoint apart.
    """
    tokenizer, tokenizer_2 = tiny_tokenizer(), tiny_tokenizer(pad_token="!")
    config_2 = tiny_text_config(tokenizer_2, second_width, hidden_act="gelu", projection_dim=_POOLED_WIDTH)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return StableDiffusionXLPipeline(
            vae=tiny_vae(scaling_factor=0.13025, force_upcast=True),
            text_encoder=CLIPTextModel(tiny_text_config(tokenizer)).eval(),
            text_encoder_2=CLIPTextModelWithProjection(config_2).eval(),
            tokenizer=tokenizer,
            tokenizer_2=tokenizer_2,
            unet=_unet(TEXT_WIDTH + second_width),
            scheduler=_noise_scheduler(prediction_type),
            force_zeros_for_empty_prompt=True,
            add_watermarker=False,
        )


@cache
def tiny_sdxl_base(prediction_type: PredictionType = "epsilon") -> StableDiffusionXLBase:
    """The loaded base around that pipeline, shared by all tests of a process: each leaves it as it was."""
    return StableDiffusionXLBase(tiny_sdxl(prediction_type), fingerprint=f"tiny-sdxl {prediction_type}")


def _unet(text_width: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16, 32),
        transformer_layers_per_block=(1, 1, 2),
        attention_head_dim=(1, 2, 4),
        layers_per_block=2,
        norm_num_groups=4,
        use_linear_projection=True,
        cross_attention_dim=text_width,
        addition_embed_type="text_time",
        addition_time_embed_dim=_SIZE_WIDTH,
        projection_class_embeddings_input_dim=_POOLED_WIDTH + _SIZES * _SIZE_WIDTH,
    ).eval()


def _noise_scheduler(prediction_type: PredictionType) -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type=prediction_type,
    )
