"""A family of another kind is one small class: a flow-matching transformer (SD3, arXiv 2403.03206) trains and draws.

It is no family of Palimpsest's; it shows that neither the interface nor what families share is made for UNets alone.
"""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTextModelWithProjection

from app.domain.strategies import MergeOptions
from tests.tiny_pipelines import tiny_text_config, tiny_tokenizer, tiny_vae
from tests.unit.worker.training.helpers import OPTIONS, Listener, a_task, fixed_loss, same_weights, weights_of
from worker.adapters.accumulated import ChainLink, Update, applied
from worker.models.base import Base, Conditioning, Sampling
from worker.models.pipeline import PipelineBase
from worker.strategies.replay import replay
from worker.training.loop import train

SAMPLING = Sampling(prompt="a zqa cat", negative_prompt=None, steps=3, guidance_scale=3.0, width=64, height=64)
CHANNELS = 16


class FlowBase(PipelineBase):
    """All that such a family adds; its timesteps are in [0, 1]."""

    def __init__(self, pipeline: StableDiffusion3Pipeline) -> None:
        super().__init__(pipeline, pipeline.transformer, "tiny-sd3")

    @torch.no_grad()
    def encode_prompts(self, prompts: list[str]) -> Conditioning:
        embeds, _, pooled, _ = self.pipeline.encode_prompt(
            prompts, prompts, prompts, device=self.device, do_classifier_free_guidance=False
        )
        return Conditioning({"embeds": embeds, "pooled": pooled})

    def sample_timesteps(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.sigmoid(torch.randn(count, generator=generator))

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        share = timesteps.to(latents).reshape(-1, 1, 1, 1)
        return (1 - share) * latents + share * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:  # noqa: ARG002
        return noise - latents

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        embeds, pooled = conditioning.tensors["embeds"], conditioning.tensors["pooled"]
        inputs = (noisy.to(self.dtype), embeds, pooled, 1000 * timesteps.to(self.device))
        model_pred: Tensor = self.pipeline.transformer(*inputs, return_dict=False)[0]
        return model_pred


def tiny_sd3() -> StableDiffusion3Pipeline:
    tokenizer = tiny_tokenizer()
    config = tiny_text_config(tokenizer, projection_dim=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return StableDiffusion3Pipeline(
            transformer=SD3Transformer2DModel(
                sample_size=8,
                patch_size=1,
                in_channels=CHANNELS,
                out_channels=CHANNELS,
                num_layers=2,
                attention_head_dim=8,
                num_attention_heads=4,
                caption_projection_dim=32,
                joint_attention_dim=64,
                pooled_projection_dim=32,
                pos_embed_max_size=16,
            ),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=_vae(),
            text_encoder=CLIPTextModelWithProjection(config),
            tokenizer=tokenizer,
            text_encoder_2=CLIPTextModelWithProjection(config),
            tokenizer_2=tokenizer,
            text_encoder_3=None,
            tokenizer_3=None,
        )


def _vae() -> AutoencoderKL:
    return tiny_vae(latent_channels=CHANNELS, scaling_factor=1.5305, shift_factor=0.0609)


@pytest.fixture(scope="module")
def base() -> Base:
    return FlowBase(tiny_sd3())


def draw(base: Base, update: Update) -> NDArray[np.float64]:
    with applied(base.denoiser, update):
        image = base.sample(SAMPLING, [torch.Generator().manual_seed(5)], lambda *_: None)[0]
    return np.asarray(image, dtype=np.float64)


def test_it_trains_and_the_base_is_as_it_was(base: Base) -> None:
    before, plain = weights_of(base), draw(base, {})
    task = a_task(OPTIONS.model_copy(update={"steps": 20, "learning_rate": 2e-2}))
    link = ChainLink(MergeOptions(), train(base, task, Listener(), None).adapter)
    update = replay([link]).update
    assert fixed_loss(base, task, update) < 0.97 * fixed_loss(base, task, {})
    assert abs(draw(base, update) - plain).max() > 3
    assert np.array_equal(draw(base, {}), plain)
    assert same_weights(base, before)


def test_it_draws_what_the_pipeline_draws(base: Base) -> None:
    pipeline = tiny_sd3()
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn((1, CHANNELS, 8, 8), generator=torch.Generator().manual_seed(5))
    options = {"num_inference_steps": 3, "guidance_scale": 3.0, "height": 64, "width": 64, "output_type": "np"}
    expected = 255 * pipeline(SAMPLING.prompt, latents=noise, **options).images[0]
    np.testing.assert_allclose(draw(base, {}), expected, atol=0.5 + 1e-2)


def test_images_are_encoded_in_the_units_of_the_denoiser(base: Base) -> None:
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    gaussian = tiny_sd3().vae.encode(pixels).latent_dist
    distribution = base.encode_images(pixels)
    torch.testing.assert_close(distribution.mean, (gaussian.mean.detach() - 0.0609) * 1.5305)
    torch.testing.assert_close(distribution.std, gaussian.std.detach() * 1.5305)
