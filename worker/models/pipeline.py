"""A base that is a diffusers pipeline: what families share, whatever their denoiser and their noise schedule are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from app.domain.errors import NotFiniteError
from worker.models import prompts
from worker.models.base import Conditioning, Framing, LatentDistribution, Sampling, StepCallback, TextInputs
from worker.models.micro_batches import MicroBatches


class PipelineBase:
    """All of a `worker.models.base.Base` but its prompts, its noise schedule and its prediction."""

    def __init__(self, pipeline: Any, denoiser: nn.Module, fingerprint: str) -> None:
        self.pipeline = pipeline
        self.denoiser = denoiser
        self.fingerprint = fingerprint
        for component in pipeline.components.values():
            if isinstance(component, nn.Module):
                component.requires_grad_(False).eval()
        pipeline.set_progress_bar_config(disable=True)
        # Asked once: adapters in training put parameters of another precision into the denoiser.
        weights = next(denoiser.parameters())
        self.device, self.dtype = weights.device, weights.dtype
        self.pictures_at_once: dict[tuple[int, int], MicroBatches] = {}

    @property
    def weight_bytes(self) -> int:
        """The memory that its weights take, in bytes."""
        modules = [part for part in self.pipeline.components.values() if isinstance(part, nn.Module)]
        return sum(weights.nbytes for module in modules for weights in (*module.parameters(), *module.buffers()))

    def text_inputs(self, texts: list[str]) -> TextInputs | None:  # noqa: ARG002
        """None: in a transformer that mixes texts and pictures, every projection but the first sees both."""
        return None

    def encode_framings(self, framings: Sequence[Framing]) -> Conditioning:  # noqa: ARG002
        """Nothing: most denoisers see the prompt alone."""
        return Conditioning({})

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> LatentDistribution:
        vae = self.pipeline.vae
        gaussian = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
        shift, scaling = _shift(vae), vae.config.scaling_factor
        return LatentDistribution((gaussian.mean - shift) * scaling, gaussian.std * scaling)

    @torch.no_grad()
    def sample(
        self, sampling: Sampling, generators: Sequence[torch.Generator], on_step: StepCallback
    ) -> list[Image.Image]:
        return self.decode(self.sample_latents(sampling, generators, on_step))

    @torch.no_grad()
    def sample_latents(
        self, sampling: Sampling, generators: Sequence[torch.Generator], on_step: StepCallback
    ) -> Tensor:
        latents: Tensor = self.pipeline(
            **self._prompts(sampling),
            num_images_per_prompt=len(generators),
            height=sampling.height,
            width=sampling.width,
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance_scale,
            latents=torch.cat([self._initial_noise(sampling, one) for one in generators]),
            generator=list(generators),
            output_type="latent",
            callback_on_step_end=_reporting(on_step),
        ).images
        _insist_on_finite(latents, "latents")
        return latents

    def unheard(self, prompt: str) -> str:
        """What is behind the first chunk, as pipelines cut it; a family that reads on in chunks says otherwise."""
        return prompts.beyond(self.pipeline.tokenizer, self.pipeline.text_encoder, prompt)

    def _prompts(self, sampling: Sampling) -> dict[str, Any]:
        """The pipeline's arguments for the prompts."""
        return {"prompt": sampling.prompt, "negative_prompt": sampling.negative_prompt}

    def _initial_noise(self, sampling: Sampling, generator: torch.Generator) -> Tensor:
        # Drawn in fp32 whatever the base's precision: in another dtype the same seed draws other numbers.
        height, width = (side // self.pipeline.vae_scale_factor for side in (sampling.height, sampling.width))
        noise = torch.randn((1, self.pipeline.vae.config.latent_channels, height, width), generator=generator)
        return noise.to(self.device, self.dtype)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> list[Image.Image]:
        vae = self.pipeline.vae
        latents = latents.to(vae.dtype) / vae.config.scaling_factor + _shift(vae)
        pixels = vae.decode(latents, return_dict=False)[0]
        # The pipeline's own conversion makes black of what is not a number.
        _insist_on_finite(pixels, "pixels")
        images: list[Image.Image] = self.pipeline.image_processor.postprocess(pixels, output_type="pil")
        return images


def _insist_on_finite(drawn: Tensor, what: str) -> None:
    if not bool(torch.isfinite(drawn).all()):
        raise NotFiniteError(
            f"The picture's {what} are not finite: this version's update is too strong for its base, as an adapter is "
            "whose alpha is far too large. Nothing is published."
        )


def _shift(vae: Any) -> float:
    """What the VAE's latents are centred by; Stable Diffusion's, before its third version, by nothing."""
    return vae.config.shift_factor or 0.0


def _reporting(on_step: StepCallback) -> Callable[..., Mapping[str, Tensor]]:
    """The pipeline's own callback for `on_step`; it changes no tensor."""

    def on_step_end(pipeline: Any, step: int, _timestep: int, _tensors: object) -> dict[str, Tensor]:
        on_step(step + 1, pipeline.num_timesteps)
        return {}

    return on_step_end
