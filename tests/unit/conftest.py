"""Unit tests compute with one thread: tiny tensors gain nothing by two, and lose much on a busy machine.

Set before each, because tests of workers run in the same process and set it for theirs.
"""

import pytest

from worker.models.device import fix_threads


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    fix_threads(1)
