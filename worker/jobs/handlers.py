"""What does each kind of job: its `run` takes the job from its row to what it publishes, and ends it."""

from collections.abc import Callable
from typing import Any

from app.domain.jobs import JobKind
from worker.attempt.job_context import JobContext
from worker.jobs import generate, import_adapter, reproduce
from worker.jobs.erase import job as erase
from worker.jobs.evaluate import job as evaluate
from worker.jobs.train import job as train

# A test holds the type of `run`'s parameters equal to the kind's `params`.
Handler = Callable[[JobContext, Any], None]

HANDLERS: dict[JobKind, Handler] = {
    JobKind.TRAIN: train.run,
    JobKind.GENERATE: generate.run,
    JobKind.IMPORT: import_adapter.run,
    JobKind.REPRODUCE: reproduce.run,
    JobKind.ERASE: erase.run,
    JobKind.EVALUATE: evaluate.run,
}
