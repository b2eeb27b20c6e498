"""The `sd` family: `StableDiffusionPipeline` (arXiv 2112.10752), with any of its three prediction types."""

from collections.abc import Callable, Mapping

import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from PIL import Image
from torch import Tensor, nn

from worker.models.base import Conditioning, LatentDistribution, Sampling, StepCallback


class StableDiffusionBase:
    """A `worker.models.base.Base` over one text encoder, a UNet and a VAE."""

    def __init__(self, pipeline: StableDiffusionPipeline, fingerprint: str) -> None:
        self.pipeline = pipeline
        self.fingerprint = fingerprint
        for module in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
            module.requires_grad_(False).eval()
        pipeline.set_progress_bar_config(disable=True)
        # Pipelines carry samplers of many kinds; all of them know the schedule that was trained on.
        self.noise_scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)

    @property
    def denoiser(self) -> nn.Module:
        unet: nn.Module = self.pipeline.unet
        return unet

    @property
    def device(self) -> torch.device:
        device: torch.device = self.pipeline.unet.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.pipeline.unet.dtype
        return dtype

    @torch.no_grad()
    def encode_prompts(self, prompts: list[str]) -> Conditioning:
        embeds, _ = self.pipeline.encode_prompt(prompts, self.device, 1, do_classifier_free_guidance=False)
        return Conditioning({"encoder_hidden_states": embeds})

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> LatentDistribution:
        vae = self.pipeline.vae
        gaussian = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
        scaling = vae.config.scaling_factor
        return LatentDistribution(gaussian.mean * scaling, gaussian.std * scaling)

    def sample_timesteps(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(self.noise_scheduler.config.num_train_timesteps, (count,), generator=generator)

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        noisy: Tensor = self.noise_scheduler.add_noise(latents, noise, timesteps)
        return noisy

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Epsilon: the noise (arXiv 2006.11239). v: alpha noise - sigma latents (arXiv 2202.00512). Sample: latents."""
        match self.noise_scheduler.config.prediction_type:
            case "epsilon":
                return noise
            case "v_prediction":
                velocity: Tensor = self.noise_scheduler.get_velocity(latents, noise, timesteps)
                return velocity
            case "sample":
                return latents
            case other:
                raise ValueError(f"unknown prediction type {other!r}")

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        embeds = conditioning.tensors["encoder_hidden_states"]
        inputs = (noisy.to(self.dtype), timesteps.to(self.device), embeds)
        model_pred: Tensor = self.pipeline.unet(*inputs, return_dict=False)[0]
        return model_pred

    @torch.no_grad()
    def sample(self, sampling: Sampling, generator: torch.Generator, on_step: StepCallback) -> Image.Image:
        latents = self.pipeline(
            sampling.prompt,
            height=sampling.resolution,
            width=sampling.resolution,
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance_scale,
            negative_prompt=sampling.negative_prompt,
            latents=self._initial_noise(sampling.resolution, generator),
            generator=generator,
            output_type="latent",
            callback_on_step_end=_reporting(on_step),
        ).images
        return self._decode(latents)

    def _initial_noise(self, resolution: int, generator: torch.Generator) -> Tensor:
        # Drawn in fp32 whatever the base's precision: in another dtype the same seed draws other numbers.
        side = resolution // self.pipeline.vae_scale_factor
        noise = torch.randn((1, self.pipeline.unet.config.in_channels, side, side), generator=generator)
        return noise.to(self.device, self.dtype)

    def _decode(self, latents: Tensor) -> Image.Image:
        vae = self.pipeline.vae
        pixels = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor, return_dict=False)[0]
        image: Image.Image = self.pipeline.image_processor.postprocess(pixels, output_type="pil")[0]
        return image


def _reporting(on_step: StepCallback) -> Callable[..., Mapping[str, Tensor]]:
    """The pipeline's own callback for `on_step`; it changes no tensor."""

    def on_step_end(
        pipeline: StableDiffusionPipeline, step: int, _timestep: int, _tensors: object
    ) -> dict[str, Tensor]:
        on_step(step + 1, pipeline.num_timesteps)
        return {}

    return on_step_end
