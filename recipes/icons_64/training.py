"""What the two trainings share: the step loop, the learning rate, the averaged weights, checkpoints, the plot."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import matplotlib as mpl
import torch
from rich.progress import Progress, TextColumn
from torch import Tensor, nn

mpl.use("Agg")
from matplotlib import pyplot as plt

_log = logging.getLogger(__name__)
_CHECKPOINT_SECONDS = 60.0
_PLOT_WINDOW_STEPS = 100
# A run has diverged when its mean loss over the last few steps is so many times that over the hundred before them.
_RECENT_STEPS = 20
_STEPS_BEFORE = 100
_DIVERGED = 1.25


class DivergedError(Exception):
    """The loss rose and stayed up. What has been trained since the last checkpoint is worth nothing and not kept."""


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, a plateau, then a cosine decay over the last `decay_share`.

    It ends after `total_steps`, or after `total_seconds` of training where that is set and comes first; only the former
    is the same on every machine.
    """

    total_steps: int
    total_seconds: float | None = None
    warmup_steps: int = 50
    decay_share: float = 0.4

    def progress(self, step: int, seconds: float) -> float:
        """How much is done, 0 to 1."""
        by_clock = seconds / self.total_seconds if self.total_seconds else 0.0
        return min(1.0, max(step / self.total_steps, by_clock))

    def factor(self, step: int, seconds: float) -> float:
        """The share of the peak learning rate at `step` (0-based)."""
        warmup = min(1.0, (step + 1) / self.warmup_steps)
        left = (1.0 - self.progress(step, seconds)) / self.decay_share
        return warmup * (0.5 - 0.5 * math.cos(math.pi * min(1.0, left)))


@dataclass
class Run:
    """A resumable training of `model` by `loss_of_step(step)`. All randomness comes from the seed and the step."""

    model: nn.Module
    optimizers: list[torch.optim.Optimizer]
    schedule: Schedule
    folder: Path
    name: str
    batch_size: int
    seed: int = 0
    ema_decays: tuple[float, ...] = (0.999,)
    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._peaks = [group["lr"] for optimizer in self.optimizers for group in optimizer.param_groups]
        self.averages = [
            {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()} for _ in self.ema_decays
        ]
        if self.checkpoint.exists():
            self._load()

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"{self.name}.pt"

    @property
    def averaged(self) -> dict[str, Tensor]:
        """The first exponential moving average of the weights: what is evaluated and shipped."""
        return self.averages[0]

    @property
    def on_plateau(self) -> bool:
        """Whether the learning rate does not fall yet."""
        return self.schedule.progress(self.step, self.seconds) < 1.0 - self.schedule.decay_share

    @property
    def recent_loss(self) -> float:
        """The mean of the last hundred losses."""
        return fmean(self.losses[-_PLOT_WINDOW_STEPS:])

    def train(self, loss_of_step: Callable[[int], Tensor], after_step: Callable[[], None] = lambda: None) -> None:
        """Run to the schedule's end; a killed run loses what came after its last checkpoint and nothing else.

        Raises:
            DivergedError: the loss rose for good; the last checkpoint stays.
        """
        saved_at = time.monotonic()
        self.model.train()
        for _ in self._progress():
            self._wait_while_paused()
            started = time.monotonic()
            self._set_learning_rates()
            loss = loss_of_step(self.step)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
            self.model.zero_grad(set_to_none=True)
            self.losses.append(loss.item())
            self._refuse_divergence()
            self.step += 1
            self._update_averages()
            self.seconds += time.monotonic() - started
            after_step()
            if time.monotonic() - saved_at > _CHECKPOINT_SECONDS:
                self.save()
                saved_at = time.monotonic()
        self.save()

    def _wait_while_paused(self) -> None:
        """A file named PAUSE in the folder halts the run: for benchmarks and timed tests on the same machine."""
        while (self.folder / "PAUSE").exists():
            time.sleep(1.0)

    def save(self) -> None:
        """Atomic: the old checkpoint stays whole until the new one is."""
        partial = self.checkpoint.with_suffix(".partial")
        state = {
            "model": self.model.state_dict(),
            "averages": self.averages,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
            "losses": self.losses,
        }
        torch.save(state, partial)
        partial.replace(self.checkpoint)
        plot_losses(self.losses, self.folder / f"{self.name}-loss.png", self.name)
        _log.info("%s: %s", self.name, self._status())

    def _refuse_divergence(self) -> None:
        before = self.losses[-_STEPS_BEFORE - _RECENT_STEPS : -_RECENT_STEPS]
        if len(before) < _STEPS_BEFORE:
            return
        usual, recent = fmean(before), fmean(self.losses[-_RECENT_STEPS:])
        if not recent < _DIVERGED * usual:
            raise DivergedError(f"{self.name}: at step {self.step} the loss has risen from {usual:.3f} to {recent:.3f}")

    def _status(self) -> str:
        rate = self.batch_size * self.step / self.seconds
        return f"step {self.step} loss {self.recent_loss:.4f} {rate:.0f} samples/s"

    def _load(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.averages = state["averages"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.seconds, self.losses = state["step"], state["seconds"], state["losses"]

    def _set_learning_rates(self) -> None:
        factor = self.schedule.factor(self.step, self.seconds)
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        for group, peak in zip(groups, self._peaks, strict=True):
            group["lr"] = peak * factor

    @torch.no_grad()
    def _update_averages(self) -> None:
        weights = self.model.state_dict()
        for longest, average in zip(self.ema_decays, self.averages, strict=True):
            # A young average forgets faster, so that it does not drag the random start along.
            decay = min(longest, (1 + self.step) / (10 + self.step))
            for name, tensor in weights.items():
                if tensor.is_floating_point():
                    average[name].lerp_(tensor, 1 - decay)

    def _progress(self) -> Iterator[int]:
        columns = (*Progress.get_default_columns(), TextColumn("{task.fields[status]}"))
        with Progress(*columns, refresh_per_second=0.2) as progress:
            task = progress.add_task(self.name, total=1.0, status="")
            while (done := self.schedule.progress(self.step, self.seconds)) < 1.0:
                yield self.step
                progress.update(task, completed=done, status=self._status())


def plot_losses(losses: list[float], path: Path, title: str) -> None:
    """The mean loss per window of steps, on a logarithmic axis."""
    windows = [losses[i : i + _PLOT_WINDOW_STEPS] for i in range(0, len(losses), _PLOT_WINDOW_STEPS)]
    figure, axes = plt.subplots(figsize=(6, 3.5))
    axes.plot([i * _PLOT_WINDOW_STEPS for i in range(len(windows))], [sum(w) / len(w) for w in windows])
    axes.set(xlabel="step", ylabel="loss", yscale="log", title=title)
    axes.grid(alpha=0.3, which="both")
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)
