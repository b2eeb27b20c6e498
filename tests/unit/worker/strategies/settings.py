"""What a strategy is given of its surroundings, on a tiny base."""

import torch

from app.domain.training import TrainingOptions
from tests.tiny_pipelines import tiny_base
from worker.models.base import Base
from worker.strategies.base import NewTask, Shapes
from worker.strategies.scene import Setting


def a_setting(base: Base | None = None) -> Setting:
    """A setting without earlier concepts whose streams are all alike."""
    return Setting(
        base=base or tiny_base(),
        earlier_prompts=(),
        neutral_prompts=(),
        resolution=64,
        concept_loss=lambda *_: torch.zeros(()),
        stream=lambda _: torch.Generator().manual_seed(0),
        tick=lambda: None,
    )


def a_new_task(shapes: Shapes, training: TrainingOptions, seed: int) -> NewTask:
    """A task in that setting, whose own generator has this seed."""
    return NewTask(shapes, training, torch.Generator().manual_seed(seed), a_setting())
