"""`self_replay` (arXiv 2311.14028, 2509.23593): `merge`, while the parent version teaches what it knows already.

The frozen parent version is the teacher. Before training it draws a few latents z for every earlier concept's stored
prompt. The base draws z' for neutral prompts. The loss of each step is

    |f(x) - target|^2 + lam |f(z, c_old) - f_teacher(z, c_old)|^2 + mu |f(z', c_neutral) - f_base(z', c_neutral)|^2,

with x, z and z' noised to timesteps of their own, and means over all elements. All of it is in the base's prediction
space; the target of the middle term is what the teacher says, not the noise. No past image is seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from app.domain.strategies import NullSpaceOptions, ReplayStart, SelfReplayOptions
from worker.adapters.accumulated import LineageState
from worker.strategies.distillation import Distillation, draw_replay, weighted_losses
from worker.strategies.null_space import NullSpace
from worker.strategies.strategy import TaskStart
from worker.strategies.task_context import AdaptedBase, TaskContext


@dataclass(frozen=True)
class SelfReplay:
    """Merge, and hold the model to its parent on earlier concepts' prompts, and to the base on neutral ones."""

    options: SelfReplayOptions

    def start(self, parent: LineageState, context: TaskContext) -> TaskStart:
        """As `merge`, gaussian A and zero B over `W0 + D_{t-1}`, or as `null_space`."""
        if self.options.start is ReplayStart.NULL_SPACE:
            start = NullSpace(NullSpaceOptions()).start(parent, context)
        else:
            start = TaskStart(parent.update, context.fresh_factors())
        return replace(start, extra_loss=partial(_teachers, self.options))


@dataclass(frozen=True)
class Teachers:
    """The terms that have a weight and a prompt, by name; the latents that they replay live as long as the job."""

    terms: Mapping[str, Distillation]

    @property
    def streams(self) -> dict[str, torch.Generator]:
        """Each term has its own."""
        return {name: term.generator for name, term in self.terms.items()}

    def of_step(self) -> Tensor | None:
        """The weighted terms' sum."""
        losses = weighted_losses(list(self.terms.values()))
        return torch.stack(losses).sum() if losses else None

    def notes(self) -> dict[str, float]:
        """How many latents were drawn, by term."""
        return {f"{name}_latents": float(len(term.replay.latents)) for name, term in self.terms.items()}


def _teachers(options: SelfReplayOptions, adapted: AdaptedBase) -> Teachers:
    context, terms = adapted.context, {}
    old = context.earlier_prompts * options.latents_per_concept
    neutral = [context.neutral_prompts[n % len(context.neutral_prompts)] for n in range(options.neutral_latents)]
    for name, prompts, weight, as_teacher in (
        ("earlier", old, options.lam, adapted.without_adapter),
        ("neutral", tuple(neutral), options.mu, adapted.as_base),
    ):
        if prompts and weight > 0:
            with as_teacher():
                replay = draw_replay(context, prompts, options.sampling_steps, context.stream(f"{name} latents"))
            size, generator = options.replay_batch_size, context.stream(name)
            terms[name] = Distillation(context.base, as_teacher, replay, weight, size, generator)
    return Teachers(terms)
