"""Trials done in processes of their own, within a budget of minutes; what they make is kept as they end."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from rich.progress import Progress

from app.domain.base import Value
from benchmarks.experiments.laboratory import Laboratory, Setting, Sizes
from benchmarks.experiments.results import Results
from benchmarks.progress import bars
from worker.models.device import fix_threads


class Keyed(Protocol):
    """A run to do."""

    def key(self, setting: Setting) -> str:
        """Names all that determines what comes of it in this setting; the run that was done has the same key."""


TrialT = TypeVar("TrialT", bound=Keyed)
RunT = TypeVar("RunT", bound=Value)


class OutOfBudgetError(Exception):
    """The minutes are used up. What was done is kept, and the same command goes on from there."""


@dataclass(frozen=True)
class Crew(Generic[TrialT, RunT]):
    """`workers` trials at a time; none is begun after `deadline`, on the monotonic clock."""

    setting: Setting
    results: Results[RunT]
    executor: Executor
    job: Callable[[TrialT], RunT]
    workers: int
    deadline: float
    progress: Progress

    def runs(self, trials: Sequence[TrialT], label: str) -> list[RunT]:
        """The runs of the trials, in their order: from the results, or done now.

        Raises:
            OutOfBudgetError: there was no time for all of them.
        """
        keys = [trial.key(self.setting) for trial in trials]
        missing = {key: trial for key, trial in zip(keys, trials, strict=True) if self.results.get(key) is None}
        row = self.progress.add_task(label, total=len(set(keys)), completed=len(set(keys)) - len(missing))
        self._do(list(missing.values()), lambda: self.progress.advance(row))
        found = [self.results.get(key) for key in keys]
        runs = [run for run in found if run is not None]
        if len(runs) < len(trials):
            raise OutOfBudgetError(f"{label}: {len(missing)} runs were to do, and the minutes are used up")
        return runs

    def _do(self, trials: list[TrialT], on_run: Callable[[], object]) -> None:
        running: set[Future[RunT]] = set()
        while trials or running:
            while trials and len(running) < self.workers:
                if time.monotonic() >= self.deadline:
                    trials = []
                else:
                    running.add(self.executor.submit(self.job, trials.pop(0)))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                self.results.add(future.result())
                on_run()


@contextmanager
def open_crew(
    model: Path,
    sizes: Sizes,
    results: Results[RunT],
    perform: Callable[[Laboratory, TrialT], RunT],
    *,
    processes: int,
    threads: int,
    minutes: float,
) -> Iterator[Crew[TrialT, RunT]]:
    """Processes of so many threads each that `perform` trials, and the results of earlier calls."""
    setting = Laboratory.load(model, sizes).setting
    job = partial(_in_laboratory, model, sizes, threads, perform)
    # Forked, a process would share torch's thread pool, which does not survive that.
    executor = ProcessPoolExecutor(processes, get_context("spawn"), end_with_parent)
    with executor, bars() as progress:
        yield Crew(setting, results, executor, job, processes, time.monotonic() + 60 * minutes, progress)


def end_with_parent() -> None:
    """Have this process end when the one that spawned it does, however that comes.

    One that is killed tells its pool nothing, whose processes would wait for work for ever.
    """
    threading.Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _in_laboratory(
    model: Path, sizes: Sizes, threads: int, perform: Callable[[Laboratory, TrialT], RunT], trial: TrialT
) -> RunT:
    fix_threads(threads)
    return perform(_laboratory(model, sizes), trial)


@cache
def _laboratory(model: Path, sizes: Sizes) -> Laboratory:
    return Laboratory.load(model, sizes)
