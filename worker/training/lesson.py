"""The loss that teaches a concept, in the base's own prediction space."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from worker.models.base import Base
from worker.training.data import Encoded


@dataclass(frozen=True)
class Lesson:
    """A concept's encoded images, and the base that is to learn them."""

    base: Base
    encoded: Encoded

    def loss(self, size: int, generator: torch.Generator) -> Tensor:
        """The mean squared error, in fp32, of `size` images drawn with replacement, each with its noise and timestep.

        All are drawn from the CPU `generator`, in a fixed order.
        """
        count = len(self.encoded.latents.mean)
        indices = torch.randint(count, (size,), generator=generator)
        latents = self.encoded.latents.rows(indices).sample(generator)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        timesteps = self.base.sample_timesteps(size, generator)
        noisy = self.base.add_noise(latents, noise, timesteps)
        model_pred = self.base.predict(noisy, timesteps, self.encoded.conditioning.rows(indices))
        return F.mse_loss(model_pred.float(), self.base.target(latents, noise, timesteps).float())
