"""Holding a model in training to what a frozen teacher predicts on latents that the teacher has drawn."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from worker.models.base import Base, Conditioning, Sampling
from worker.strategies.task_context import TaskContext

# Guidance would draw from a sharpened distribution, which is not the one that was learned, at twice the cost.
_NO_GUIDANCE = 1.0


@dataclass(frozen=True)
class Replay:
    """Latents (N x C x h x w, clean, in the denoiser's scaled units), each with the conditioning that it was drawn
    for."""

    latents: Tensor
    conditioning: Conditioning


def draw_replay(context: TaskContext, prompts: tuple[str, ...], steps: int, generator: torch.Generator) -> Replay:
    """One latent for each prompt, by the base as it computes just now."""
    drawn = [
        context.base.sample_latents(
            Sampling(
                prompt=prompt,
                negative_prompt=None,
                steps=steps,
                guidance_scale=_NO_GUIDANCE,
                width=context.training.resolution,
                height=context.training.resolution,
            ),
            [generator],
            lambda *_: context.tick(),
        )
        for prompt in prompts
    ]
    # In fp32 as the images' latents are, so that noise is added as exactly.
    return Replay(torch.cat(drawn).float(), context.base.encode_prompts(list(prompts)))


@dataclass(frozen=True)
class Distillation:
    """The mean squared difference of student and teacher on noised latents of `replay`, times `weight`.

    Within `as_teacher()` the base computes as the teacher, without gradients; else as the student. Batches of `size`,
    noise and timesteps are drawn from `generator` alone.
    """

    base: Base
    as_teacher: Callable[[], AbstractContextManager[None]]
    replay: Replay
    weight: float
    size: int
    generator: torch.Generator

    def weighted_loss(self) -> Tensor:
        """The term of one step, a scalar in fp32."""
        indices = torch.randint(len(self.replay.latents), (self.size,), generator=self.generator)
        latents = self.replay.latents[indices.to(self.replay.latents.device)]
        noise = torch.randn(latents.shape, generator=self.generator).to(latents)
        timesteps = self.base.sample_timesteps(self.size, self.generator)
        noisy = self.base.add_noise(latents, noise, timesteps)
        conditioning = self.replay.conditioning.rows(indices)
        with self.as_teacher():
            taught = self.base.predict(noisy, timesteps, conditioning)
        model_pred = self.base.predict(noisy, timesteps, conditioning)
        return self.weight * F.mse_loss(model_pred.float(), taught.float())
