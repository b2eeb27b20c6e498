"""What a training is given, what it reports while it runs, and what comes of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from app.domain.jobs import Phase
from app.domain.strategies import StrategyOptions
from app.domain.training import TrainingOptions
from worker.adapters.accumulated import ChainLink
from worker.adapters.factors import Adapter

_SEED_BYTES = 8


@dataclass(frozen=True)
class TrainingTask:
    """One concept to learn on top of the version that `chain` (oldest first) makes."""

    images: tuple[Image.Image, ...]
    instance_prompt: str
    training: TrainingOptions
    strategy: StrategyOptions
    chain: tuple[ChainLink, ...]
    adapted_modules: tuple[str, ...]
    neutral_prompts: tuple[str, ...] = ()

    def earlier_prompts(self) -> tuple[str, ...]:
        """What the concepts of the chain were taught with, oldest first."""
        return tuple(prompt for link in self.chain for prompt in link.instance_prompts)

    def generator(self, stream: str = "") -> torch.Generator:
        """The task's own source of randomness, on the CPU: a function of the seed and of the place in the chain.

        A lineage's versions share one seed. From the seed alone every fresh A would start in the very directions of
        the one before it. Strategies want independent draws. A named `stream` is another source of the
        same task: what is drawn from one moves no other.
        """
        seed = f"{self.training.seed}/{len(self.chain)}" + (f"/{stream}" if stream else "")
        digest = hashlib.sha256(seed.encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:_SEED_BYTES], "little"))


@dataclass(frozen=True)
class Trained:
    """The adapter of this task alone, the loss of its last step, and the strategy's notes for the provenance.

    `strategy_state` is what the strategy keeps for the next task.
    """

    adapter: Adapter
    final_loss: float
    notes: Mapping[str, float]
    strategy_state: Mapping[str, Tensor]


class Hooks(Protocol):
    """What the training reports. Each of these may raise to stop it, which leaves the base as it was."""

    def phase(self, phase: Phase) -> None:
        """This phase begins."""

    def step(self, step: int, total_steps: int, loss: float | None) -> None:
        """`step` optimizer steps are done. Called after each.

        With loss None it is called where no optimizer step is made: after each image that is encoded, and after each
        denoising step or gradient of the strategy's own, before the first step or after the last.
        """

    def wants_checkpoint(self) -> bool:
        """Asked after each step: whether to save one now."""

    def save_checkpoint(self, data: bytes, step: int) -> None:
        """The complete state after `step` steps, from which `train` resumes."""
