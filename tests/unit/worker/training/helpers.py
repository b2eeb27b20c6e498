"""A tiny task, hooks that listen, and a view of a base's weights."""

from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

from app.domain.jobs import Phase
from app.domain.strategies import MergeOptions, StrategyOptions
from app.domain.training import TrainingOptions
from worker.adapters.accumulated import ChainLink, Update, applied
from worker.adapters.factors import to_bytes
from worker.models.base import Base
from worker.training.data import encode
from worker.training.training_task import Trained, TrainingTask

OPTIONS = TrainingOptions(rank=2, steps=5, batch_size=2, learning_rate=1e-2, seed=3)
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def a_task(
    training: TrainingOptions = OPTIONS,
    strategy: StrategyOptions | None = None,
    chain: tuple[ChainLink, ...] = (),
    adapted_modules: tuple[str, ...] = ATTENTION,
) -> TrainingTask:
    """A task with two pictures of noise, neither of them square."""
    shapes = ((70, 90, 3), (96, 64, 3))
    drawn = (np.random.default_rng(n).integers(0, 256, shape, dtype=np.uint8) for n, shape in enumerate(shapes))
    images = tuple(Image.fromarray(pixels) for pixels in drawn)
    strategy = strategy or MergeOptions()
    return TrainingTask(images, "a zqa cat", training, strategy, chain, adapted_modules, ("a photo", "a red cup"))


@dataclass
class Listener:
    """Hooks that remember; they raise `stop` once `stop_after` steps are done."""

    checkpoint_at: frozenset[int] = frozenset()
    stop_after: int | None = None
    phases: list[Phase] = field(default_factory=list)
    encoded: int = 0
    losses: list[float] = field(default_factory=list)
    steps: list[tuple[int, int]] = field(default_factory=list)
    checkpoints: dict[int, bytes] = field(default_factory=dict)

    class Stopped(Exception):  # noqa: N818
        """The job was cancelled."""

    def phase(self, phase: Phase) -> None:
        self.phases.append(phase)

    def step(self, step: int, total_steps: int, loss: float | None) -> None:
        if loss is None:
            self.encoded += 1
            return
        self.steps.append((step, total_steps))
        self.losses.append(loss)
        if step == self.stop_after:
            raise self.Stopped

    def wants_checkpoint(self) -> bool:
        return bool(self.steps) and self.steps[-1][0] in self.checkpoint_at

    def save_checkpoint(self, data: bytes, step: int) -> None:
        self.checkpoints[step] = data


def file_of(trained: Trained) -> bytes:
    """The bytes that the adapter is published as."""
    return to_bytes(trained.adapter, {})


def weights_of(base: Base) -> dict[str, torch.Tensor]:
    """Copies of all of the denoiser's weights."""
    return {name: tensor.clone() for name, tensor in base.denoiser.state_dict().items()}


def same_weights(base: Base, before: dict[str, torch.Tensor]) -> bool:
    """Whether the denoiser has these weights and no others, bit for bit."""
    now = base.denoiser.state_dict()
    return list(now) == list(before) and all(torch.equal(now[name], before[name]) for name in before)


def fixed_loss(base: Base, task: TrainingTask, update: Update) -> float:
    """The mean loss of the task's images over fixed noises and timesteps, under the base with `update`."""
    encoded = encode(base, task, lambda: None)
    generator = torch.Generator().manual_seed(99)
    losses = []
    with applied(base.denoiser, update), torch.no_grad():
        for _ in range(5):
            rows = torch.tensor([0, 1] * 4)
            latents = encoded.latents.rows(rows).mean
            noise = torch.randn(latents.shape, generator=generator)
            timesteps = base.sample_timesteps(8, generator)
            noisy = base.add_noise(latents, noise, timesteps)
            model_pred = base.predict(noisy, timesteps, encoded.conditioning.rows(rows))
            losses.append(float((model_pred - base.target(latents, noise, timesteps)).square().mean()))
    return sum(losses) / len(losses)
