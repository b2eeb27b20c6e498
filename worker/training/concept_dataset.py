"""The loss that teaches a concept, in the base's own prediction space."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from worker.models.base import Base, Conditioning
from worker.training.data import Encoded


@dataclass(frozen=True)
class Batch:
    """What is drawn for one step: N noised latents (N x C x h x w), their timesteps, targets and conditioning."""

    base: Base
    noisy: Tensor
    timesteps: Tensor
    target: Tensor
    conditioning: Conditioning

    def __len__(self) -> int:
        return len(self.timesteps)

    def loss(self) -> Tensor:
        """The mean squared error of what the base predicts just now, a scalar in fp32."""
        model_pred = self.base.predict(self.noisy, self.timesteps, self.conditioning)
        return F.mse_loss(model_pred.float(), self.target.float())

    def parts(self, size: int) -> "Iterator[Batch]":
        """The same in batches of `size` at most."""
        for rows in torch.arange(len(self)).split(size):
            of_device = rows.to(self.noisy.device)
            yield Batch(
                base=self.base,
                noisy=self.noisy[of_device],
                timesteps=self.timesteps[rows.to(self.timesteps.device)],
                target=self.target[of_device],
                conditioning=self.conditioning.rows(rows),
            )


@dataclass(frozen=True)
class ConceptDataset:
    """A concept's encoded images, and the base that is to learn them."""

    base: Base
    encoded: Encoded

    def draw(self, size: int, generator: torch.Generator) -> Batch:
        """`size` images drawn with replacement, each with its noise and timestep.

        All are drawn from the CPU `generator`, in a fixed order.
        """
        count = len(self.encoded.latents.mean)
        indices = torch.randint(count, (size,), generator=generator)
        latents = self.encoded.latents.rows(indices).sample(generator)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        timesteps = self.base.sample_timesteps(size, generator)
        noisy = self.base.add_noise(latents, noise, timesteps)
        target = self.base.target(latents, noise, timesteps)
        return Batch(self.base, noisy, timesteps, target, self.encoded.conditioning.rows(indices))

    def loss(self, size: int, generator: torch.Generator) -> Tensor:
        """The mean squared error, in fp32, of so many."""
        return self.draw(size, generator).loss()
