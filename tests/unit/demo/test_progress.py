"""Watching jobs: in order, to the end, and no further than a failure."""

import io
from collections.abc import Iterable
from typing import cast

import pytest
from rich.console import Console

from demo import progress
from demo.bodies import Job
from demo.client import Client
from demo.errors import DemoError
from demo.progress import Watcher
from tests.unit.demo.made_up import job


class Answers:
    """A client whose jobs go through these answers, whichever is asked for."""

    def __init__(self, answers: Iterable[Job]) -> None:
        self._answers = iter(answers)

    def job(self, _job_id: str) -> Job:
        return next(self._answers)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_POLL_SECONDS", 0.0)


def watcher(*answers: Job) -> tuple[Watcher, io.StringIO]:
    terminal = io.StringIO()
    return Watcher(cast("Client", Answers(answers)), Console(file=terminal, width=120)), terminal


def test_trainings_are_followed_to_their_ends() -> None:
    watching, terminal = watcher(job("running"), job(), job("queued"), job("running"), job())
    ended = watching.trainings({"first": job("queued"), "second": job("queued")})
    assert [each.status for each in ended] == ["succeeded", "succeeded"]
    assert "first" in terminal.getvalue()
    assert "loss 0.250  took 12 s" in terminal.getvalue()


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_failure_ends_the_watch_with_its_reason(status: str) -> None:
    error = {"title": "Training diverged", "detail": "The loss is not finite at step 3 of 8."}
    watching, _ = watcher(job(status, error=error))
    with pytest.raises(DemoError, match=f"first: the job has {status}: The loss is not finite"):
        watching.trainings({"first": job("queued"), "second": job("queued")})


def test_drawings_are_counted() -> None:
    watching, terminal = watcher(job("running"), job(), job())
    watching.drawings("pictures", [job("queued"), job("queued")])
    assert "2/2" in terminal.getvalue()
