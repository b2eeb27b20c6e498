"""What a strategy is given of its surroundings, on a tiny base."""

import torch

from app.domain.training import TrainingOptions
from tests.tiny_pipelines import tiny_base
from worker.models.base import Base
from worker.strategies.task_context import Shapes, TaskContext


def a_context(
    shapes: Shapes | None = None,
    training: TrainingOptions | None = None,
    seed: int = 0,
    base: Base | None = None,
) -> TaskContext:
    """A task without earlier concepts, whose own generator has this seed and whose streams are all alike."""
    return TaskContext(
        base=base or tiny_base(),
        shapes=shapes or {},
        training=training or TrainingOptions(resolution=64),
        generator=torch.Generator().manual_seed(seed),
        earlier_prompts=(),
        neutral_prompts=(),
        concept_loss=lambda *_: torch.zeros(()),
        stream=lambda _: torch.Generator().manual_seed(0),
        tick=lambda: None,
    )
