"""The optimizer and the lr_scheduler of a training."""

import torch
from diffusers.optimization import get_scheduler
from torch import nn

from app.domain.training import TrainingOptions

LrScheduler = torch.optim.lr_scheduler.LambdaLR


def make_optimizer(parameters: list[nn.Parameter], training: TrainingOptions) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101), always fresh: no strategy carries moments from task to task."""
    return torch.optim.AdamW(parameters, lr=training.learning_rate, weight_decay=training.weight_decay)


def make_lr_scheduler(optimizer: torch.optim.Optimizer, training: TrainingOptions) -> LrScheduler:
    """The lr_scheduler of that name in `diffusers.optimization.get_scheduler`; the options are such as it accepts."""
    lr_scheduler: LrScheduler = get_scheduler(
        training.lr_scheduler.value,
        optimizer,
        step_rules=training.lr_step_rules,
        num_warmup_steps=training.lr_warmup_steps,
        num_training_steps=training.steps,
        # Options that were stored before there was a choice follow diffusers' own defaults, as they always have.
        num_cycles=training.lr_cycles or 1,
        power=training.lr_power or 1.0,
    )
    return lr_scheduler
