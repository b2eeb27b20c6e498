"""What an evaluation tells the job: progress for the lease, also while it trains a concept alone."""

from app.db.leases import Progress
from app.domain.jobs import Phase
from worker.attempt.job_context import JobContext
from worker.attempt.pace import Pace


class JobEvaluationHooks:
    """Implements `worker.evaluation.evaluation_task.EvaluationHooks` for one attempt at a job."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._total_steps = 0
        self._step = 0
        self._pace = Pace()

    def begin(self, total_steps: int) -> None:
        """The evaluation begins."""
        self._total_steps = total_steps
        self.resume()

    def resume(self) -> None:
        """The evaluation goes on."""
        self._context.lease.enter(Phase.EVALUATING)
        self._context.hand_back_at_shutdown()

    def step(self) -> None:
        """A denoising step of a picture is done."""
        self._step += 1
        self._pace.step()
        self.work()

    def skip(self, steps: int) -> None:
        """So many denoising steps need not be done."""
        self._step += steps
        self.work()

    def work(self) -> None:
        """Something is done that is no step of a picture."""
        pace = self._pace.seconds_per_step
        self._context.lease.tick(Progress(self._step, self._total_steps, pace, None))
        self._context.hand_back_at_shutdown()


class IsolatedTrainingHooks:
    """Implements `worker.training.training_task.Hooks` for a concept that is trained alone on the way."""

    def __init__(self, context: JobContext, evaluation: JobEvaluationHooks) -> None:
        self._context = context
        self._evaluation = evaluation

    def phase(self, phase: Phase) -> None:
        """A phase of training begins."""
        self._context.lease.enter(phase)
        self._context.hand_back_at_shutdown()

    def step(self, step: int, total_steps: int, loss: float | None) -> None:  # noqa: ARG002
        """An optimizer step has ended."""
        self._evaluation.work()

    def wants_checkpoint(self) -> bool:
        """Never: an interrupted concept starts again; those before it are kept."""
        return False

    def save_checkpoint(self, data: bytes, step: int) -> None:
        """Not asked for."""
        raise NotImplementedError
