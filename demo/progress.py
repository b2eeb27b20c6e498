"""Watching jobs until they end, as progress bars."""

import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from demo.bodies import Job
from demo.client import Client
from demo.errors import DemoError

_POLL_SECONDS = 0.5


class Watcher:
    """Follows one user's jobs on one terminal."""

    def __init__(self, client: Client, console: Console) -> None:
        self._client = client
        self._console = console

    def trainings(self, jobs: Mapping[str, Job]) -> list[Job]:
        """Wait for train jobs, by label, a bar for each; returns them as they ended.

        Raises:
            DemoError: one did not succeed.
        """
        ended: list[Job] = []
        with self._bars() as bars:
            rows = {label: bars.add_task(label, total=job.progress.total_steps, note="") for label, job in jobs.items()}
            # In the order of their submission, which is that of their running.
            for label, job in jobs.items():
                ended.append(self._follow(bars, rows[label], label, job))
        return ended

    def drawings(self, label: str, jobs: Sequence[Job]) -> None:
        """Wait for generate jobs, one bar for all.

        Raises:
            DemoError: one did not succeed.
        """
        with self._bars() as bars:
            row = bars.add_task(label, total=len(jobs), note="generations")
            for job in jobs:
                while not self._succeeded(label, self._client.job(job.id)):
                    time.sleep(_POLL_SECONDS)
                bars.advance(row)

    def _bars(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"))
        return Progress(*columns, TextColumn("{task.fields[note]}"), console=self._console)

    def _follow(self, bars: Progress, row: TaskID, label: str, job: Job) -> Job:
        while not self._succeeded(label, job):
            time.sleep(_POLL_SECONDS)
            job = self._client.job(job.id)
            bars.update(row, total=job.progress.total_steps, completed=job.progress.step, note=_note(job))
        return job

    def _succeeded(self, label: str, job: Job) -> bool:
        if job.is_over and job.status != "succeeded":
            reason = "no reason was given" if job.error is None else job.error.detail
            raise DemoError(f"{label}: the job has {job.status}: {reason}")
        return job.is_over


def _note(job: Job) -> str:
    progress = job.progress
    loss = "" if progress.loss is None else f"loss {progress.loss:.3f}"
    if job.is_over:
        return f"{loss}  took {job.seconds:.0f} s".strip()
    eta = "" if progress.eta_seconds is None else f"eta {progress.eta_seconds:.0f} s"
    return f"{job.phase or job.status}  {loss}  {eta}".rstrip()
