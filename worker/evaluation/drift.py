"""How far a version's predictions have moved from the base's where nothing that it learned is asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worker.adapters.accumulated import Update, applied
from worker.evaluation.metrics import FloatArray
from worker.models.base import Base, Conditioning, Sampling

_SAMPLING_STEPS = 10
_NOISES_PER_PROMPT = 8
# Guidance would draw from another distribution than the one that the base has learned.
_NO_GUIDANCE = 1.0
# A large base has little room for a batch beside its weights.
_BATCH = 4


@dataclass(frozen=True)
class Probe:
    """Noised latents (N x C x h x w) of what the base draws for neutral prompts; the same for every version."""

    noisy: Tensor
    timesteps: Tensor
    conditioning: Conditioning


def make_probe(base: Base, prompts: Sequence[str], resolution: int, seed: int, on_step: Callable[[], None]) -> Probe:
    """One latent for each prompt, drawn by the base, each with several noises at timesteps of their own."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [
        base.sample_latents(
            Sampling(
                prompt=prompt,
                negative_prompt=None,
                steps=_SAMPLING_STEPS,
                guidance_scale=_NO_GUIDANCE,
                resolution=resolution,
            ),
            generator,
            lambda *_: on_step(),
        )
        for prompt in prompts
    ]
    rows = torch.arange(len(prompts)).repeat_interleave(_NOISES_PER_PROMPT)
    latents = torch.cat(drawn).float()[rows.to(drawn[0].device)]
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    timesteps = base.sample_timesteps(len(rows), generator)
    return Probe(base.add_noise(latents, noise, timesteps), timesteps, base.encode_prompts(list(prompts)).rows(rows))


@torch.no_grad()
def predictions(base: Base, update: Update, probe: Probe, on_step: Callable[[], None]) -> FloatArray:
    """`f(x, tau, c)` of the base with the update, N x C x h x w."""
    parts = []
    with applied(base.denoiser, update):
        for batch in torch.arange(len(probe.noisy)).split(_BATCH):
            rows = batch.to(probe.noisy.device)
            noisy, timesteps = probe.noisy[rows], probe.timesteps[batch.to(probe.timesteps.device)]
            parts.append(base.predict(noisy, timesteps, probe.conditioning.rows(batch)).double().cpu().numpy())
            on_step()
    predicted: FloatArray = np.concatenate(parts)
    return predicted
