"""`isolated`: one adapter for each concept, trained from the base; a prompt brings in those that it names.

An *isolated run* is a stretch of versions under this strategy. Each of its tasks trains a fresh adapter over the same
frozen `W0 + D_b`; b is the version where the run began. From version 0 that is the base. Drawing, and exporting,
takes `D_b` and the updates of the concepts that are named. A version of another strategy builds on all of them.
"""

from dataclasses import dataclass

from app.domain.strategies import IsolatedOptions
from worker.adapters.accumulated import LineageState
from worker.strategies.strategy import TaskStart
from worker.strategies.task_context import TaskContext


@dataclass(frozen=True)
class Isolated:
    """Teach every concept apart."""

    options: IsolatedOptions

    def start(self, parent: LineageState, context: TaskContext) -> TaskStart:
        """Gaussian A and zero B, over `W0 + D_b`, whatever the run has learned."""
        return TaskStart(parent.where_run_began(self.options).update, context.fresh_factors())
