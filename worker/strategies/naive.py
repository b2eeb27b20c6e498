"""`naive` (arXiv 2410.04891): one adapter, trained on and on; the baseline that forgets.

A *naive run* is a stretch of the chain under this strategy. All of its versions train the same adapter over the same
frozen `W0 + D_b`; b is the version where the run began. So `D_t = D_b + s B_t A_t`, and the adapters of the run's
earlier versions no longer count.
"""

from dataclasses import dataclass

from app.domain.errors import InvalidInputError
from app.domain.strategies import NaiveOptions
from app.domain.training import TrainingOptions
from worker.adapters.accumulated import LineageState
from worker.adapters.factors import Adapter
from worker.strategies.strategy import TaskStart
from worker.strategies.task_context import Shapes, TaskContext


@dataclass(frozen=True)
class Naive:
    """Keep training the parent's adapter, with a fresh optimizer."""

    options: NaiveOptions

    def start(self, parent: LineageState, context: TaskContext) -> TaskStart:
        """The parent's factors if the parent is of a naive run, else as `merge`; over `W0 + D_b`."""
        running = _running_adapter(parent)
        if running is None:
            return TaskStart(parent.update, context.fresh_factors())
        _refuse_another_shape(running, context.shapes, context.training)
        return TaskStart(parent.where_run_began(self.options).update, dict(running.modules))


def _running_adapter(parent: LineageState) -> Adapter | None:
    if parent.last is not None and isinstance(parent.last.strategy, NaiveOptions):
        return parent.last.adapter
    return None


def _refuse_another_shape(running: Adapter, shapes: Shapes, training: TrainingOptions) -> None:
    own = {name: ((training.rank, d_in), (d_out, training.rank)) for name, (d_out, d_in) in shapes.items()}
    theirs = {name: (tuple(f.a.shape), tuple(f.b.shape)) for name, f in running.modules.items()}
    if own != theirs or training.scale != running.scale:
        raise InvalidInputError(
            "A naive run trains one adapter on and on, so rank, alpha and adapted modules must stay as they were."
        )
