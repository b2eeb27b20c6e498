"""The caches of accumulated updates."""

import os
from collections.abc import Callable, Set
from pathlib import Path

import pytest
import torch

from worker.adapters.accumulated import Update
from worker.adapters.cache import DiskCache, UpdateCache, UpdateKey

MANY = 10**9


def an_update(seed: int = 0) -> Update:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in {"to_q": (5, 7), "conv": (3, 18)}.items()}


def key(name: str, *parts: str) -> UpdateKey:
    return UpdateKey(name, frozenset(parts))


def same(one: Update | None, other: Update) -> bool:
    return one is not None and one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def never() -> Update:
    raise AssertionError("made again")


def test_what_was_asked_for_last_stays() -> None:
    cache, made = UpdateCache(2), []

    def get(name: str) -> Update:
        def make() -> Update:
            made.append(name)
            return {}

        return cache.get(key(name), make)

    first = get("a")
    get("b")
    assert get("a") is first
    get("c")
    assert get("a") is first
    get("b")
    assert made == ["a", "b", "c", "b"]


def test_another_process_finds_it_on_disk_bit_for_bit(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "updates"
    for update in (an_update(), {}):
        UpdateCache(1, DiskCache(folder, MANY)).get(key(str(len(update))), lambda update=update: update)  # type: ignore[misc]
        assert same(UpdateCache(1, DiskCache(folder, MANY)).get(key(str(len(update))), never), update)


def _flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("harm", [_flip, lambda data: data[:-9], lambda _: b"", lambda data: data[:40]])
def test_what_is_damaged_is_made_again(tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    disk = DiskCache(tmp_path, MANY)
    disk.put(key("a"), an_update())
    (path,) = tmp_path.iterdir()
    path.write_bytes(harm(path.read_bytes()))
    assert disk.get(key("a")) is None
    assert list(tmp_path.iterdir()) == []
    assert same(UpdateCache(1, disk).get(key("a"), an_update), an_update())
    assert same(disk.get(key("a")), an_update())


def test_what_is_damaged_and_cannot_be_removed_is_made_again_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = DiskCache(tmp_path, MANY)
    disk.put(key("a"), an_update())
    (path,) = tmp_path.iterdir()
    path.write_bytes(_flip(path.read_bytes()))

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert disk.get(key("a")) is None


def test_what_was_used_least_recently_goes_first(tmp_path: Path) -> None:
    DiskCache(tmp_path, MANY).put(key("size"), an_update())
    (path,) = tmp_path.iterdir()
    disk = DiskCache(tmp_path, 2 * path.stat().st_size)
    left = path.rename(tmp_path / "left-by-a-killed-process.1.part")
    os.utime(left, (0, 0))
    for age, name in enumerate("ab"):
        disk.put(key(name), an_update(age))
        os.utime(tmp_path / f"{name}.update", (1 + age, 1 + age))
    assert {path.name for path in tmp_path.iterdir()} == {"a.update", "b.update"}
    assert same(disk.get(key("a")), an_update(0))
    disk.put(key("c"), an_update(2))
    assert disk.get(key("b")) is None
    assert same(disk.get(key("a")), an_update(0))
    assert same(disk.get(key("c")), an_update(2))


def test_what_is_larger_than_all_of_it_is_not_kept(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path / "updates", 100)
    disk.put(key("a"), an_update())
    assert disk.get(key("a")) is None
    assert not (tmp_path / "updates").exists()


def test_without_a_disk_work_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = UpdateCache(1, DiskCache(tmp_path / "file" / "updates", MANY))
    assert same(cache.get(key("a"), an_update), an_update())


def test_what_was_made_of_something_lost_is_forgotten_in_memory_and_on_disk(tmp_path: Path) -> None:
    gone, kept, base = key("gone", "dog", "vase"), key("kept", "dog", "cup"), key("base")
    for some in (gone, kept, base):
        UpdateCache(1, DiskCache(tmp_path, MANY)).get(some, an_update)
    # A process that was killed while it wrote, and a release that did not say what its files were made of.
    whole = (tmp_path / "gone.update").read_bytes()
    (tmp_path / "gone.1.part").write_bytes(whole[:-20])
    (tmp_path / "begun.1.part").write_bytes(whole[:60])
    (tmp_path / "old.update").write_bytes(whole.replace(b"palimpsest-update-2", b"palimpsest-update-1"))
    (tmp_path / "somebody's.txt").write_text("not ours")
    cache, asked = UpdateCache(3, DiskCache(tmp_path, MANY)), list[Set[str]]()
    for some in (gone, kept):
        cache.get(some, never)

    def lost(parts: Set[str]) -> Set[str]:
        asked.append(parts)
        return parts & {"vase"}

    for _ in range(2):
        cache.forget(lost)
    assert asked == [{"dog", "vase", "cup"}, {"dog", "cup"}]
    left = {"kept.update", "base.update", "begun.1.part", "somebody's.txt"}
    assert {path.name for path in tmp_path.iterdir()} == left
    assert same(cache.get(gone, dict), {})
    assert same(cache.get(kept, never), an_update())
