"""From a lineage's chain to the state of its last version."""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

from worker.adapters.accumulated import BASE_STATE, ChainLink, LineageState
from worker.strategies.registry import strategy_of


def replay(chain: Sequence[ChainLink]) -> LineageState:
    """The state that the chain (oldest first) makes on top of the base, each link by its own strategy's rule.

    Computed in fp32 on the CPU, in chain order, so that the same chain always gives the same bits.
    """
    return reduce(_followed, chain, BASE_STATE)


def _followed(state: LineageState, link: ChainLink) -> LineageState:
    following = strategy_of(link.strategy).consolidate(state, link.adapter)
    return replace(following, strategy_state=link.strategy_state or state.strategy_state)
