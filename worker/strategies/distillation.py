"""Holding a model in training to what a frozen teacher predicts on latents that the teacher has drawn."""

from collections.abc import Callable, Sequence
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
class Asked:
    """Noised latents (N x C x h x w) with their timesteps and conditioning, and what the teacher predicts of them."""

    noisy: Tensor
    timesteps: Tensor
    conditioning: Conditioning
    taught: Tensor


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

    def asked(self) -> Asked:
        """What one step asks the student, and what the teacher says to it."""
        indices = torch.randint(len(self.replay.latents), (self.size,), generator=self.generator)
        latents = self.replay.latents[indices.to(self.replay.latents.device)]
        noise = torch.randn(latents.shape, generator=self.generator).to(latents)
        timesteps = self.base.sample_timesteps(self.size, self.generator)
        noisy = self.base.add_noise(latents, noise, timesteps)
        conditioning = self.replay.conditioning.rows(indices)
        with self.as_teacher():
            taught = self.base.predict(noisy, timesteps, conditioning)
        return Asked(noisy, timesteps, conditioning, taught)


def weighted_losses(terms: Sequence[Distillation]) -> list[Tensor]:
    """Each term of one step, a scalar in fp32; the student answers all of them in one forward pass where they fit."""
    asked = [term.asked() for term in terms]
    answers = _answers(terms[0].base, asked) if asked else []
    return [
        term.weight * F.mse_loss(answer.float(), one.taught.float())
        for term, one, answer in zip(terms, asked, answers, strict=True)
    ]


def _answers(base: Base, asked: Sequence[Asked]) -> Sequence[Tensor]:
    conditionings = [one.conditioning for one in asked]
    if any(one.row_shapes != conditionings[0].row_shapes for one in conditionings):
        return [base.predict(one.noisy, one.timesteps, one.conditioning) for one in asked]
    noisy, timesteps = torch.cat([one.noisy for one in asked]), torch.cat([one.timesteps for one in asked])
    together = base.predict(noisy, timesteps, Conditioning.stacked(conditionings))
    return torch.split(together, [len(one.noisy) for one in asked])
