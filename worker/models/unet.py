"""What the families with a UNet share: diffusion over discrete timesteps (DDPM, arXiv 2006.11239)."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from diffusers import DDPMScheduler
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from worker.models import prompts
from worker.models.base import Conditioning, Sampling, TextInputs
from worker.models.base_model_errors import UnfitBaseError
from worker.models.pipeline import PipelineBase


class UNetBase(PipelineBase):
    """All of a `worker.models.base.Base` but its prompts and its prediction, with any of three prediction types."""

    def __init__(self, pipeline: Any, fingerprint: str) -> None:
        super().__init__(pipeline, pipeline.unet, fingerprint)
        self.noise_scheduler = _trained_schedule(pipeline.scheduler)

    @abstractmethod
    def encode_prompts(self, texts: list[str]) -> Conditioning:
        """With the token states under `encoder_hidden_states`."""

    @torch.no_grad()
    def text_inputs(self, texts: list[str]) -> TextInputs:
        """The token states that enter the keys and values of every cross-attention."""
        tokens = self.encode_prompts(texts).tensors["encoder_hidden_states"]
        chunks = prompts.in_chunks(self.pipeline.tokenizer, self.pipeline.text_encoder, texts)
        is_spoken = chunks.words.flatten(1, 2)
        return TextInputs(frozenset(_text_fed(self.denoiser)), tokens, is_spoken.to(tokens.device))

    def unheard(self, prompt: str) -> str:  # noqa: ARG002
        """Nothing: prompts of any length are read, in chunks."""
        return ""

    def _prompts(self, sampling: Sampling) -> dict[str, Any]:
        texts = [sampling.prompt, sampling.negative_prompt or ""]
        return (
            self._long_prompts(sampling.prompt, sampling.negative_prompt)
            if self._is_long(texts)
            else {"prompt": sampling.prompt, "negative_prompt": sampling.negative_prompt}
        )

    @abstractmethod
    def _is_long(self, texts: list[str]) -> bool:
        """Whether one of them is more than a text encoder reads at once."""

    @abstractmethod
    def _long_prompts(self, prompt: str, negative_prompt: str | None) -> dict[str, Tensor]:
        """The pipeline's arguments in place of these prompts, which are read in chunks: as many for both."""

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

    def _run_unet(
        self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning, added: dict[str, Tensor] | None
    ) -> Tensor:
        embeds = conditioning.tensors["encoder_hidden_states"]
        inputs = (noisy.to(self.dtype), timesteps.to(self.device), embeds)
        model_pred: Tensor = self.pipeline.unet(*inputs, added_cond_kwargs=added, return_dict=False)[0]
        return model_pred


def _text_fed(unet: nn.Module) -> Iterator[str]:
    for path, module in unet.named_modules():
        if isinstance(module, Attention) and module.is_cross_attention and module.norm_cross is None:
            yield from (f"{path}.to_k", f"{path}.to_v")


def _trained_schedule(sampler: Any) -> DDPMScheduler:
    """The schedule that was trained on: pipelines carry samplers of many kinds, and those of DDPM know its betas.

    Raises:
        UnfitBaseError: the sampler is of another kind of schedule (EDM's, flow matching's).
    """
    if "beta_schedule" not in sampler.config:
        raise UnfitBaseError(f"The base model's noise schedule, {type(sampler).__name__}, is not that of its family.")
    return DDPMScheduler.from_config(sampler.config)
