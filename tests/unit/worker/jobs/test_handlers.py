"""Each kind of job has one handler, which takes what the kind is given."""

from typing import get_type_hints

import pytest

from app.domain.jobs import JobKind
from worker.attempt.job_context import JobContext
from worker.jobs.handlers import HANDLERS


def test_every_kind_has_a_handler() -> None:
    assert set(HANDLERS) == set(JobKind)


@pytest.mark.parametrize("kind", JobKind)
def test_the_handler_takes_what_the_kind_is_given(kind: JobKind) -> None:
    hints = get_type_hints(HANDLERS[kind])
    assert (hints["context"], hints["params"]) == (JobContext, kind.traits.params)


def test_no_handler_serves_two_kinds() -> None:
    assert len(set(HANDLERS.values())) == len(HANDLERS)
