"""`merge` (Merge & Init, arXiv 2410.04891): a fresh adapter on top of everything merged so far.

`D_t = D_{t-1} + U_t`, always in delta space: adding factors instead would make cross terms as large as the signal.
"""

from dataclasses import dataclass

from app.domain.strategies import MergeOptions
from worker.adapters.accumulated import LineageState
from worker.strategies.strategy import TaskStart
from worker.strategies.task_context import TaskContext


@dataclass(frozen=True)
class Merge:
    """Merge and initialise."""

    options: MergeOptions

    def start(self, parent: LineageState, context: TaskContext) -> TaskStart:
        """Gaussian A and zero B, over `W0 + D_{t-1}`."""
        return TaskStart(parent.update, context.fresh_factors())
