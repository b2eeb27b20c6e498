"""What training and generation need of a loaded base model; one file per family provides it.

A family owns everything about its noise schedule: what a timestep is, how noise is added, what the model is to
predict. So a flow-matching transformer (continuous timesteps, velocity targets) is another implementation, not
another loop. What a family's denoiser wants beside the prompt it takes from `encode_framings` in training, and derives
in `predict` where it was told nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from worker.models.micro_batches import MicroBatches


@dataclass(frozen=True)
class Conditioning:
    """What the denoiser is conditioned on: a family's own named tensors, with one row per prompt."""

    tensors: Mapping[str, Tensor]

    def rows(self, indices: Tensor) -> "Conditioning":
        """The conditioning of a batch: row `indices[n]` for its element n."""
        return Conditioning({name: tensor[indices.to(tensor.device)] for name, tensor in self.tensors.items()})

    @property
    def row_shapes(self) -> dict[str, torch.Size]:
        """Of each tensor the shape of one row. Equal ones fit one batch; long prompts have more tokens."""
        return {name: tensor.shape[1:] for name, tensor in self.tensors.items()}

    @classmethod
    def stacked(cls, parts: Sequence["Conditioning"]) -> "Conditioning":
        """The rows of all parts, in order; their `row_shapes` are equal."""
        return cls({name: torch.cat([part.tensors[name] for part in parts]) for name in parts[0].tensors})

    def beside(self, other: "Conditioning") -> "Conditioning":
        """Both at once: row n is what the two say of element n."""
        return Conditioning({**self.tensors, **other.tensors})


@dataclass(frozen=True)
class TextInputs:
    """What prompts alone feed to some of the denoiser's projections, whatever is drawn.

    `modules` are the paths of those projections; all get the same `tokens` (N x T x d_in), row n those of prompt n.
    `is_spoken` (N x T) tells the prompt's words, with start and end, from padding; token 0 starts each prompt.
    """

    modules: frozenset[str]
    tokens: Tensor
    is_spoken: Tensor


@dataclass(frozen=True)
class Framing:
    """How a square training picture was cut from its original, in pixels.

    `original_size` is (height, width); `crop_top_left` is (top, left) in the original as scaled for the crop.
    """

    original_size: tuple[int, int]
    crop_top_left: tuple[int, int]


@dataclass(frozen=True)
class LatentDistribution:
    """The VAE's gaussian over latents, in the denoiser's scaled units: mean and std are N x C x h x w."""

    mean: Tensor
    std: Tensor

    def rows(self, indices: Tensor) -> "LatentDistribution":
        """The distributions of a batch: row `indices[n]` for its element n."""
        indices = indices.to(self.mean.device)
        return LatentDistribution(self.mean[indices], self.std[indices])

    def sample(self, generator: torch.Generator) -> Tensor:
        """Latents drawn with a CPU generator, so that a seed means the same on every device."""
        noise = torch.randn(self.mean.shape, generator=generator)
        return self.mean + self.std * noise.to(self.mean)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How one picture is drawn; `width` and `height` are in pixels."""

    prompt: str
    negative_prompt: str | None
    steps: int
    guidance_scale: float
    width: int
    height: int


StepCallback = Callable[[int, int], None]
"""Called after each denoising step with the number of steps done and of all; may raise to stop."""


class Base(Protocol):
    """A base model on its device: frozen, in eval mode, and the same after each use as before."""

    @property
    def denoiser(self) -> nn.Module:
        """The network whose projections are adapted."""

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the denoiser's weights."""

    @property
    def fingerprint(self) -> str:
        """The sha256 over the names and contents of the weights' and configurations' files."""

    @property
    def weight_bytes(self) -> int:
        """The memory that its weights take, in bytes."""

    def encode_prompts(self, texts: list[str]) -> Conditioning:
        """One row per prompt."""

    def unheard(self, prompt: str) -> str:
        """The end of a prompt that is too long for this family's text encoders; "" where all of it is heard."""

    def text_inputs(self, texts: list[str]) -> TextInputs | None:
        """What these prompts feed to the projections that see nothing else; None where there are no such."""

    def encode_framings(self, framings: Sequence[Framing]) -> Conditioning:
        """What the denoiser is told, beside the prompt, of how pictures were cut: one row each, or no tensors."""

    def encode_images(self, pixels: Tensor) -> LatentDistribution:
        """The latents of `pixels` (N x 3 x H x W, in [-1, 1])."""

    def decode(self, latents: Tensor) -> list[Image.Image]:
        """The pictures that these latents (N x C x h x w) stand for."""

    def sample_timesteps(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` training timesteps, drawn on the CPU as this family's schedule wants them."""

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noisy latents, N x C x h x w."""

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What `predict` is to return, in this base's prediction space."""

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """The denoiser's raw output (model_pred), of the shape of `noisy`."""

    @property
    def pictures_at_once(self) -> dict[tuple[int, int], MicroBatches]:
        """How many pictures of a width and height fit into memory, as found by trying."""

    def sample(
        self, sampling: Sampling, generators: Sequence[torch.Generator], on_step: StepCallback
    ) -> list[Image.Image]:
        """One picture for each CPU generator, which its random numbers come from; all drawn as one batch.

        Raises:
            NotFiniteError: a latent or a pixel is not finite.
        """

    def sample_latents(
        self, sampling: Sampling, generators: Sequence[torch.Generator], on_step: StepCallback
    ) -> Tensor:
        """The latents (N x C x h x w, in the denoiser's scaled units) of the pictures that `sample` draws.

        Raises:
            NotFiniteError: one of them is not finite.
        """
