"""Fails every test within which a pickle is loaded: by Python's audit events, which native code raises too.

What the tests themselves must unpickle (nothing so far) would have to say so here.
"""

import sys
from collections.abc import Iterator

import pytest

_seen: list[str] = []
_installed: list[bool] = []


def _notice(event: str, arguments: tuple[object, ...]) -> None:
    if event == "pickle.find_class":
        _seen.append(".".join(map(str, arguments)))


def watch() -> None:
    """Begin to notice, for as long as the process lives: an audit hook cannot be taken away."""
    if not _installed:
        _installed.append(True)
        sys.addaudithook(_notice)


@pytest.fixture(autouse=True)
def no_pickle_is_loaded() -> Iterator[list[str]]:
    """A test that plants a pickle on purpose empties the list."""
    watch()
    _seen.clear()
    yield _seen
    assert not _seen, f"a pickle was loaded, with {_seen}"
