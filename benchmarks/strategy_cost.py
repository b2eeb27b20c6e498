"""What each strategy costs per step, as a ratio to `merge`: `python -m benchmarks.strategy_cost`.

A second concept is taught to icons-64 under every strategy in turn, round after round. What counts is this process's
processor time, on one thread, so that what else the machine does adds little, and falls on all of them alike. The ratio
is taken within a round; the median of the rounds is told, with the least and the greatest. The seconds before the first
step and after the last one stand beside it: they are not per step.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from app.domain.base_models import BaseModelManifest
from app.domain.jobs import Phase
from app.domain.strategies import STRATEGIES, EwcOptions, StrategyOptions
from app.domain.training import TrainingOptions
from worker.adapters.accumulated import ChainLink
from worker.models.base import Base
from worker.models.device import fix_threads
from worker.models.loading import load_base
from worker.training.loop import train
from worker.training.training_task import TrainingTask

_FOLDER = Path(__file__).parents[1] / "base_models" / "icons-64"


@dataclass
class Clock:
    """Hooks that note when each step ended."""

    began: float = field(default_factory=time.process_time)
    ended: list[float] = field(default_factory=list)

    def phase(self, phase: Phase) -> None:
        """Phases are not timed by themselves."""

    def step(self, step: int, total_steps: int, loss: float | None) -> None:  # noqa: ARG002
        """Only optimizer steps have a loss."""
        if loss is not None:
            self.ended.append(time.process_time())

    def wants_checkpoint(self) -> bool:
        """Never."""
        return False

    def save_checkpoint(self, data: bytes, step: int) -> None:
        """Never asked for."""


@dataclass(frozen=True)
class Cost:
    """Seconds of processor time: per step, the first one left out; and all that is not a step."""

    per_step: float
    beside: float


def measure(base: Base, task: TrainingTask) -> Cost:
    """One training of the task."""
    clock = Clock()
    train(base, task, clock, None)
    total = time.process_time() - clock.began
    per_step = (clock.ended[-1] - clock.ended[0]) / (len(clock.ended) - 1)
    return Cost(per_step, total - per_step * len(clock.ended))


def second_task(base: Base, manifest: BaseModelManifest, training: TrainingOptions) -> TrainingTask:
    """A concept of noise, after another; what is learned does not matter to what it costs."""
    draw = np.random.default_rng(0)
    side = manifest.resolution
    images = tuple(Image.fromarray(draw.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(4))
    prompts = [f"a photo of {token} dog" for token in manifest.rare_tokens[:2]]
    first = TrainingTask(images, prompts[0], training, EwcOptions(), (), manifest.adapted_modules)
    learned = train(base, first, Clock(), None)
    link = ChainLink(EwcOptions(), learned.adapter, (prompts[0],), learned.strategy_state)
    neutral = manifest.neutral_prompts or ("a photo",)
    return TrainingTask(images, prompts[1], training, EwcOptions(), (link,), manifest.adapted_modules, neutral)


def under(task: TrainingTask, strategy: StrategyOptions) -> TrainingTask:
    """The task under another strategy; a naive run goes on from a naive parent."""
    link = task.chain[0]
    own = strategy if strategy.name == "naive" else link.strategy
    chain = (ChainLink(own, link.adapter, link.instance_prompts, link.strategy_state),)
    return TrainingTask(
        task.images, task.instance_prompt, task.training, strategy, chain, task.adapted_modules, task.neutral_prompts
    )


def one_round(base: Base, task: TrainingTask) -> dict[str, Cost]:
    """The task once under every strategy, at its defaults."""
    return {name: measure(base, under(task, options())) for name, options in STRATEGIES.items()}


def report(rounds: Sequence[dict[str, Cost]]) -> str:
    """A table, one strategy a line."""
    lines = [f"{'strategy':<18}{'ratio':>8}{'least':>8}{'most':>8}{'beside, s':>12}"]
    for name in rounds[0]:
        ratios = [costs[name].per_step / costs["merge"].per_step for costs in rounds]
        beside = statistics.median(costs[name].beside for costs in rounds)
        lines.append(
            f"{name:<18}{statistics.median(ratios):>8.2f}{min(ratios):>8.2f}{max(ratios):>8.2f}{beside:>12.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    fix_threads(1)
    manifest = BaseModelManifest.model_validate_json((_FOLDER / "palimpsest.json").read_text(encoding="utf-8"))
    base = load_base(manifest.family, str(_FOLDER), torch.device("cpu"), torch.float32)
    training = TrainingOptions(resolution=manifest.resolution).overridden(manifest.training_defaults)
    task = second_task(base, manifest, training.model_copy(update={"steps": arguments.steps}))
    rounds: list[dict[str, Cost]] = []
    for _ in range(arguments.rounds):
        rounds.append(one_round(base, task))
        print(f"after {len(rounds)} of {arguments.rounds} rounds\n{report(rounds)}", flush=True)


if __name__ == "__main__":
    main()
