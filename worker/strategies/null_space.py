"""`null_space` (InfLoRA, arXiv 2404.00228; KeepLoRA, arXiv 2601.19659): A does not see what earlier prompts feed in.

The keys and values of cross-attention see only the prompt's tokens. So what earlier prompts put into them can be
computed again from stored texts. M is a basis of those tokens. A is made of the directions in which the new concept's
loss falls, less M, and is frozen. Then `U x = s B A x = 0` for every token x in M, and keys and values of earlier
prompts stay as they are. All other projections start as in `orthogonal_merge`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.domain.strategies import NullSpaceOptions
from worker.adapters.accumulated import LineageState, Update, applied
from worker.adapters.factors import Factors
from worker.models.base import TextInputs
from worker.strategies.gradients import gradients_of
from worker.strategies.strategy import TaskStart
from worker.strategies.subspaces import (
    at_norm_of,
    bases_of_learned,
    covered_energy,
    projected_out,
    room_beside,
    row_basis,
    turned_away,
)
from worker.strategies.task_context import TaskContext
from worker.strategies.token_basis import TokenBasis, token_basis


@dataclass(frozen=True)
class NullSpace:
    """Merge, and keep what earlier prompts feed to cross-attention out of A's sight."""

    options: NullSpaceOptions

    def start(self, parent: LineageState, context: TaskContext) -> TaskStart:
        """Frozen A's that see no earlier token, of the keys and values; the others as `orthogonal_merge`."""
        fresh = context.fresh_factors()
        texts = _text_inputs(context)
        fed = {} if texts is None else {name: f for name, f in fresh.items() if name in texts.modules}
        others = {name: factors for name, factors in fresh.items() if name not in fed}
        bases = bases_of_learned(parent, others, context.tick)
        notes = covered_energy(parent.update, bases, context.tick)
        factors = fresh | turned_away(others, bases)
        if texts is not None and fed:
            # The projections that texts feed are all as wide as a token, so they share one basis.
            basis = token_basis(texts, min(room_beside(f) for f in fed.values()))
            gradients = self._gradients(parent.update, context, list(fed))
            factors |= {name: _blind(fed[name], gradients[name], basis.q) for name in fed}
            notes |= _notes(basis, fed)
        return TaskStart(parent.update, factors, frozenset(fed), notes)

    def _gradients(self, beneath: Update, context: TaskContext, names: list[str]) -> dict[str, Tensor]:
        """G of each module: the mean gradient of the new concept's loss with respect to D, at the parent version."""
        total: dict[str, Tensor] = {}

        def add(name: str, gradient: Tensor) -> None:
            own = gradient.to("cpu", torch.float32)
            total[name] = total[name] + own if name in total else own

        denoiser, generator = context.base.denoiser, context.stream("gradients")
        with applied(denoiser, beneath):
            weights = {name: denoiser.get_parameter(f"{name}.weight") for name in names}
            with gradients_of(weights, add):
                for _ in range(self.options.gradient_batches):
                    context.concept_loss(context.training.batch_size, generator).backward()
                    context.tick()
        return total


def _text_inputs(context: TaskContext) -> TextInputs | None:
    """None for a first task: it has nothing to protect, and is that of `merge`."""
    prompts = context.earlier_prompts
    return context.base.text_inputs(list(dict.fromkeys(prompts))) if prompts else None


def _blind(drawn: Factors, gradient: Tensor, q: Tensor) -> Factors:
    """A's rows: the top right singular vectors of `G (I - Q Q^T)` that have weight, then the draw's; at its norms."""
    wanted = gradient.double()
    # Handed over in the gradient's own precision, in whose rounding directions have no weight.
    found = row_basis((wanted - (wanted @ q) @ q.T).to(gradient.dtype), drawn.a.shape[0]).q.T
    rows = torch.cat([found, drawn.a[len(found) :].double()])
    turned = [projected_out(at_norm_of(own, row), q) for own, row in zip(drawn.a, rows, strict=True)]
    return replace(drawn, a=torch.stack(turned).to(drawn.a.dtype))


def _notes(basis: TokenBasis, fed: Mapping[str, Factors]) -> dict[str, float]:
    return {
        "protected_projections": float(len(fed)),
        "protected_directions": float(basis.q.shape[1]),
        "token_residual": basis.residual,
    }
