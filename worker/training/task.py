"""What a training is given, what it reports while it runs, and what comes of it."""

from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from app.domain.jobs import Phase
from app.domain.strategies import StrategyOptions
from app.domain.training import TrainingOptions
from worker.adapters.accumulated import ChainLink
from worker.adapters.factors import Adapter


@dataclass(frozen=True)
class TrainingTask:
    """One concept to learn on top of the version that `chain` (oldest first) makes."""

    images: tuple[Image.Image, ...]
    instance_prompt: str
    training: TrainingOptions
    strategy: StrategyOptions
    chain: tuple[ChainLink, ...]
    adapted_modules: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    """The adapter of this task alone, and the loss of its last step."""

    adapter: Adapter
    final_loss: float


class Hooks(Protocol):
    """The runner's ear. Any of these may raise to stop the training, which leaves the base as it was."""

    def phase(self, phase: Phase) -> None:
        """This phase begins."""

    def step(self, step: int, total_steps: int, loss: float | None) -> None:
        """`step` optimizer steps are done. Called after each; with loss None also after each encoded image."""

    def wants_checkpoint(self) -> bool:
        """Asked after each step: whether to save one now."""

    def save_checkpoint(self, data: bytes, step: int) -> None:
        """The complete state after `step` steps, from which `train` resumes."""
