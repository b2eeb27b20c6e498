"""The `sd` family: `StableDiffusionPipeline` (arXiv 2112.10752)."""

import torch
from torch import Tensor

from worker.models import prompts
from worker.models.base import Conditioning
from worker.models.unet import UNetBase


class StableDiffusionBase(UNetBase):
    """A `worker.models.base.Base` over one text encoder, a UNet and a VAE."""

    @torch.no_grad()
    def encode_prompts(self, texts: list[str]) -> Conditioning:
        if self._is_long(texts):
            return Conditioning({"encoder_hidden_states": self._long(texts)})
        embeds, _ = self.pipeline.encode_prompt(texts, self.device, 1, do_classifier_free_guidance=False)
        return Conditioning({"encoder_hidden_states": embeds})

    def _long_prompts(self, prompt: str, negative_prompt: str | None) -> dict[str, Tensor]:
        wanted, unwanted = self._long([prompt, negative_prompt or ""]).split(1)
        return {"prompt_embeds": wanted, "negative_prompt_embeds": unwanted}

    def _is_long(self, texts: list[str]) -> bool:
        return prompts.is_long(self.pipeline.tokenizer, self.pipeline.text_encoder, texts)

    def _long(self, texts: list[str]) -> Tensor:
        """Token states of all chunks, N x K L x d."""
        chunks = prompts.in_chunks(self.pipeline.tokenizer, self.pipeline.text_encoder, texts)
        states: Tensor = chunks.read_by(self.pipeline.text_encoder)[0]
        rows: Tensor = states.unflatten(0, (len(texts), -1)).flatten(1, 2).to(self.dtype)
        return rows

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return self._run_unet(noisy, timesteps, conditioning, None)
