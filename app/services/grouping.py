"""Rows of a join, put to what they belong to."""

from collections.abc import Callable, Iterable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def grouped(rows: Iterable[V], owner: Callable[[V], K]) -> dict[K, list[V]]:
    """The rows by their owner, in their order; looked at once."""
    groups: dict[K, list[V]] = {}
    for row in rows:
        groups.setdefault(owner(row), []).append(row)
    return groups
