"""Random chains of versions for property tests: any shapes, ranks, scales, and strategies in any order."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from app.domain.strategies import STRATEGIES
from tests.unit.worker.adapters.oracle import delta, random_adapter
from worker.adapters.accumulated import ChainLink

MODULES = ("to_q", "to_k", "to_out.0")


@dataclass(frozen=True)
class Chain:
    """Links, oldest first, and the (d_out, d_in) of every projection that any of them adapts."""

    shapes: dict[str, tuple[int, int]]
    links: list[ChainLink]

    def largest(self, name: str) -> float:
        """The largest element of any single update of that module: what errors are relative to, as terms may cancel."""
        return max(
            (abs(delta(link.adapter, name)).max() for link in self.links if name in link.adapter.modules), default=0.0
        )


@st.composite
def chains(draw: st.DrawFn, dtype: torch.dtype = torch.float32, min_size: int = 0) -> Chain:
    """A chain whose links may each adapt other modules; with an integer dtype, every sum and product in it is exact."""
    size = st.integers(1, 12)
    shapes = draw(st.dictionaries(st.sampled_from(MODULES), st.tuples(size, size), min_size=1))
    return Chain(shapes, draw(st.lists(_links(shapes, dtype), min_size=min_size, max_size=7)))


def _links(shapes: dict[str, tuple[int, int]], dtype: torch.dtype) -> SearchStrategy[ChainLink]:
    scales = st.floats(0.1, 10) if dtype.is_floating_point else st.sampled_from([0.5, 1.0, 2.0])
    return st.builds(
        lambda options, names, rank, scale, seed: ChainLink(
            options(), random_adapter({name: shapes[name] for name in sorted(names)}, rank, scale, seed, dtype)
        ),
        st.sampled_from(list(STRATEGIES.values())),
        st.sets(st.sampled_from(sorted(shapes)), min_size=1),
        st.integers(1, 5),
        scales,
        st.integers(0, 999),
    )
