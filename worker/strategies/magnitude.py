"""`magnitude` (MagMax, arXiv 2407.06322; selective update in arXiv 2410.04891): the larger change wins, per weight.

`D_t` is, element by element, `U_t` where `|U_t| >= |D_{t-1}|`, else `D_{t-1}`: a tie goes to the new value.
"""

from dataclasses import dataclass

from app.domain.strategies import MagnitudeOptions
from worker.adapters.accumulated import LineageState
from worker.strategies.strategy import TaskStart
from worker.strategies.task_context import TaskContext


@dataclass(frozen=True)
class Magnitude:
    """Keep the larger of the old and the new change."""

    options: MagnitudeOptions

    def start(self, parent: LineageState, context: TaskContext) -> TaskStart:
        """As `merge`: gaussian A and zero B, over `W0 + D_{t-1}`."""
        return TaskStart(parent.update, context.fresh_factors())
