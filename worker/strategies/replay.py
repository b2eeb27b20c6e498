"""From a lineage's chain to the state of its last version: `consolidate`, by the rules of `app/domain/chains.py`."""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from app.domain.chains import Term, run_start, surviving_terms
from worker.adapters.accumulated import BASE_STATE, ChainLink, LineageState
from worker.adapters.factors import Adapter


def replay(chain: Sequence[ChainLink]) -> LineageState:
    """The state that the chain (oldest first) makes on top of the base.

    Computed in fp32 on the CPU, in chain order, so that the same chain always gives the same bits.
    """
    if not chain:
        return BASE_STATE
    terms = surviving_terms([(link.strategy, link.adapter.modules) for link in chain])
    began = run_start([link.strategy for link in chain])
    return LineageState(
        update={name: _accumulated(chain, name, own) for name, own in terms.items()},
        last=chain[-1],
        run_start=None if began == len(chain) else replay(chain[:began]),
        sum_of_a={name: _sum_of_a(chain, name, own) for name, own in terms.items()},
        strategy_state=next((link.strategy_state for link in reversed(chain) if link.strategy_state), {}),
        terms={name: _summands(chain, own) for name, own in terms.items()},
    )


def _accumulated(chain: Sequence[ChainLink], name: str, terms: Sequence[Term]) -> Tensor:
    def consolidate(old: Tensor, term: Term) -> Tensor:
        new = chain[term.place].adapter.delta(name)
        return torch.where(new.abs() >= old.abs(), new, old) if term.selects else old + new

    return reduce(consolidate, terms[1:], chain[terms[0].place].adapter.delta(name))


def _sum_of_a(chain: Sequence[ChainLink], name: str, terms: Sequence[Term]) -> Tensor | None:
    every = [chain[term.place].adapter.modules[name].a for term in terms]
    if any(a.shape != every[0].shape for a in every):
        return None
    return reduce(torch.add, every)


def _summands(chain: Sequence[ChainLink], terms: Sequence[Term]) -> tuple[Adapter, ...] | None:
    """None: a selection is no sum."""
    if any(term.selects for term in terms):
        return None
    return tuple(chain[term.place].adapter for term in terms)
