"""The `sdxl` family: `StableDiffusionXLPipeline` (arXiv 2307.01952).

Its UNet sees two text encoders' states side by side. With the timestep it sees the second one's pooled state and six
sizes. It was trained on pictures of all sizes and crops. For each it was told how large the original was and where it
was cut (section 2.2 there). So it learns from an enlarged or cropped picture without learning to draw one.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from worker.models import prompts
from worker.models.base import Conditioning, Framing
from worker.models.unet import UNetBase


class StableDiffusionXLBase(UNetBase):
    """A `worker.models.base.Base` over two text encoders, a UNet and a VAE."""

    @torch.no_grad()
    def encode_prompts(self, texts: list[str]) -> Conditioning:
        """Token states of both encoders (N x tokens x 2048 in SDXL 1.0), and the pooled state (N x 1280)."""
        if self._is_long(texts):
            embeds, pooled = self._long(texts)
            return Conditioning({"encoder_hidden_states": embeds, "text_embeds": pooled})
        embeds, _, pooled, _ = self.pipeline.encode_prompt(texts, device=self.device, do_classifier_free_guidance=False)
        return Conditioning({"encoder_hidden_states": embeds, "text_embeds": pooled})

    def _long_prompts(self, prompt: str, negative_prompt: str | None) -> dict[str, Tensor]:
        embeds, pooled = self._long([prompt, negative_prompt or ""])
        if negative_prompt is None and self.pipeline.config.force_zeros_for_empty_prompt:
            embeds[1], pooled[1] = 0, 0
        (wanted, unwanted), (wanted_pooled, unwanted_pooled) = embeds.split(1), pooled.split(1)
        return {
            "prompt_embeds": wanted,
            "negative_prompt_embeds": unwanted,
            "pooled_prompt_embeds": wanted_pooled,
            "negative_pooled_prompt_embeds": unwanted_pooled,
        }

    def _encoders(self) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        pipe = self.pipeline
        return (pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2)

    def _is_long(self, texts: list[str]) -> bool:
        return any(prompts.is_long(tokenizer, encoder, texts) for tokenizer, encoder in self._encoders())

    def _long(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Both encoders' states of all chunks side by side, and the second one's pooled state of the first chunk."""
        read = [prompts.in_chunks(tokenizer, encoder, texts) for tokenizer, encoder in self._encoders()]
        least = max(chunks.tokens.shape[1] for chunks in read)
        states = []
        for tokenizer, encoder in self._encoders():
            chunks = prompts.in_chunks(tokenizer, encoder, texts, least)
            said = chunks.read_by(encoder, output_hidden_states=True)
            # As in the pipeline: of all layers but the last.
            states.append(said.hidden_states[-2].unflatten(0, (len(texts), -1)).flatten(1, 2))
        pooled: Tensor = said[0].unflatten(0, (len(texts), -1))[:, 0]
        return torch.cat(states, dim=-1).to(self.dtype), pooled

    def encode_framings(self, framings: Sequence[Framing]) -> Conditioning:
        """N x 4: height and width of the original, top and left of the crop."""
        rows = [(*framing.original_size, *framing.crop_top_left) for framing in framings]
        return Conditioning({"framing": torch.tensor(rows, device=self.device)})

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        added = {
            "text_embeds": conditioning.tensors["text_embeds"],
            "time_ids": self._time_ids(noisy, conditioning.tensors.get("framing")),
        }
        return self._run_unet(noisy, timesteps, conditioning, added)

    def _time_ids(self, noisy: Tensor, framing: Tensor | None) -> Tensor:
        """N x 6: the framing, then height and width of what is drawn, in pixels.

        Without a framing it is that of an original of this very size, as the pipeline has it when it samples.
        """
        size = torch.tensor(noisy.shape[-2:], device=self.device) * self.pipeline.vae_scale_factor
        target = size.expand(len(noisy), 2)
        if framing is None:
            framing = torch.cat([target, torch.zeros_like(target)], dim=1)
        return torch.cat([framing, target], dim=1)
