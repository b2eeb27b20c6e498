"""What a worker counts and times."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from prometheus_client import Counter, Gauge, Histogram

from app.db.tables import Job
from app.domain.jobs import JobKind, JobStatus
from worker.adapters.cache import Source
from worker.generation.batches import Drawn

_LONG = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400)
_TERMINAL = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED)

JOBS_FINISHED = Counter("palimpsest_jobs_finished", "Jobs that ended here.", ["kind", "status", "error"])
JOB_WAIT = Histogram("palimpsest_job_wait_seconds", "From a POST to the first claim.", ["kind"], buckets=_LONG)
JOB_RUN = Histogram("palimpsest_job_run_seconds", "Of one attempt.", ["kind", "base_model"], buckets=_LONG)
TRAINING_STEP = Histogram(
    "palimpsest_training_step_seconds",
    "Of one optimizer step.",
    ["base_model", "strategy"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
STEPS_REPEATED = Counter("palimpsest_training_steps_repeated", "Steps that an earlier attempt had made already.")
PICTURE = Histogram("palimpsest_picture_seconds", "Of drawing one picture.", ["base_model"], buckets=_LONG)
BASE_LOAD = Histogram("palimpsest_base_load_seconds", "Of loading a base model.", buckets=_LONG)
UPDATE_CACHE = Counter("palimpsest_update_cache", "Accumulated updates, by where they came from.", ["source"])
LEASE_MARGIN = Histogram(
    "palimpsest_lease_margin_seconds",
    "What was left of a lease when it was renewed.",
    buckets=(0, 1, 2.5, 5, 10, 15, 20, 25, 30, 60, 300),
)
LEASES_LOST = Counter("palimpsest_leases_lost", "Runs that learned that they no longer hold their job.")
HANGS = Counter("palimpsest_hangs", "Jobs that were given up because they showed no progress.")
GPU_MEMORY = Gauge("palimpsest_gpu_memory_bytes", "Of this worker's device; nothing is told without one.", ["state"])
GATE_VERDICTS = Counter("palimpsest_gate_verdicts", "What gates decided.", ["strategy", "verdict"])
SELF_RETENTION = Histogram(
    "palimpsest_self_retention",
    "Of earlier concepts after a training: 1 is as when just learned, 0 as the base.",
    ["strategy"],
    buckets=(-0.5, 0, 0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25),
)
REPRODUCTIONS = Counter("palimpsest_reproductions", "Versions that were trained again.", ["same"])


def note_begun(job: Job) -> None:
    """Time how long a job has waited for its first attempt: by Postgres's clock, like all that is in its row."""
    if job.attempt == 1 and job.started_at is not None:
        JOB_WAIT.labels(job.kind.value).observe((job.started_at - job.created_at).total_seconds())


@contextmanager
def timed_run(job: Job) -> Iterator[None]:
    """Time one attempt, however it ends."""
    with JOB_RUN.labels(job.kind.value, job.base_model).time():
        yield


def note_finished(kind: JobKind | None, status: JobStatus, error: str = "") -> None:
    """Count a job that has reached a status which never changes; `error` is a slug, and `kind` None if unreadable."""
    if status in _TERMINAL:
        name = "unreadable" if kind is None else kind.value
        JOBS_FINISHED.labels(name, status.value, error if status is JobStatus.FAILED else "").inc()


def note_update(source: Source) -> None:
    """Count an accumulated update."""
    UPDATE_CACHE.labels(source.value).inc()


def note_evaluated(strategy: str, self_retention: float | None) -> None:
    """Count an evaluation's figure, where it has one."""
    if self_retention is not None:
        SELF_RETENTION.labels(strategy).observe(self_retention)


class StepTimer:
    """Times the steps of one attempt at a training, and counts those that an earlier attempt had made already."""

    def __init__(self, base_model: str, strategy: str, reached_before: int) -> None:
        self._seconds = TRAINING_STEP.labels(base_model, strategy)
        self._reached_before = reached_before
        self._ended_at: float | None = None

    def step(self, step: int) -> None:
        """A step has ended; `step` counts from 1 over the whole job."""
        now = time.monotonic()
        if self._ended_at is not None:
            self._seconds.observe(now - self._ended_at)
        self._ended_at = now
        if step <= self._reached_before:
            STEPS_REPEATED.inc()

    def pause(self) -> None:
        """What comes now is no step: a checkpoint, or another phase."""
        self._ended_at = None


def timed_pictures(base_model: str, pictures: Iterator[Drawn]) -> Iterator[Drawn]:
    """Time the drawing alone: a batch comes with its first picture, and its pictures share its time evenly."""
    left, share = 0, 0.0
    while True:
        began_at = time.monotonic()
        picture = next(pictures, None)
        if picture is None:
            return
        if left == 0:
            left, share = picture.at_once, (time.monotonic() - began_at) / picture.at_once
        PICTURE.labels(base_model).observe(share)
        left -= 1
        yield picture


@contextmanager
def timed_base_load() -> Iterator[None]:
    """Time a load that succeeds."""
    began_at = time.monotonic()
    yield
    BASE_LOAD.observe(time.monotonic() - began_at)


def watch_gpu(device: torch.device) -> None:
    """Tell of the device's memory whenever somebody asks."""
    if device.type != "cuda":
        return
    GPU_MEMORY.labels("allocated").set_function(lambda: torch.cuda.memory_allocated(device))
    GPU_MEMORY.labels("reserved").set_function(lambda: torch.cuda.memory_reserved(device))
    GPU_MEMORY.labels("free").set_function(lambda: torch.cuda.mem_get_info(device)[0])
