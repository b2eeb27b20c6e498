"""Unit tests compute with one thread: tiny tensors gain nothing by two, and lose much on a busy machine."""

import pytest

from worker.models.device import fix_threads


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    fix_threads(1)
