"""The cache of replayed states."""

from worker.adapters.accumulated import LineageState
from worker.adapters.cache import UpdateCache


def test_what_was_asked_for_last_stays() -> None:
    cache, made = UpdateCache(2), []

    def get(key: str) -> LineageState:
        def make() -> LineageState:
            made.append(key)
            return LineageState(update={})

        return cache.get(key, make)

    first = get("a")
    get("b")
    assert get("a") is first
    get("c")
    assert get("a") is first
    get("b")
    assert made == ["a", "b", "c", "b"]
