"""The `sd` family: `StableDiffusionPipeline` (arXiv 2112.10752)."""

import torch
from torch import Tensor

from worker.models.base import Conditioning
from worker.models.unet import UNetBase


class StableDiffusionBase(UNetBase):
    """A `worker.models.base.Base` over one text encoder, a UNet and a VAE."""

    @torch.no_grad()
    def encode_prompts(self, prompts: list[str]) -> Conditioning:
        embeds, _ = self.pipeline.encode_prompt(prompts, self.device, 1, do_classifier_free_guidance=False)
        return Conditioning({"encoder_hidden_states": embeds})

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return self._run_unet(noisy, timesteps, conditioning, None)
