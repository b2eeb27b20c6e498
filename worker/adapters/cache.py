"""Accumulated updates that were replayed lately: the last few in memory, more of them on disk.

Both go by the hash of the chain, of which an update is a function; so nothing in them is ever out of date. What an
update was made of may be erased, though: then it is to be forgotten as well.
"""

import hashlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from worker.adapters.accumulated import Update
from worker.adapters.tensor_file import TensorFileError, pack, read_texts, unpack

log = logging.getLogger(__name__)

_FORMAT = "palimpsest-update-2"
_HASH_BYTES = hashlib.sha256().digest_size


class Source(StrEnum):
    """Where an update came from."""

    MEMORY = "memory"
    DISK = "disk"
    MADE = "made"


Note = Callable[[Source], None]

Lost = Callable[[Set[str]], Set[str]]
"""Asked about parts, tells which of them are no more."""


@dataclass(frozen=True)
class UpdateKey:
    """What an update is a function of: the hash (hex) of its chain, and the ids of the adapters that it is made of."""

    digest: str
    parts: frozenset[str]


class DiskCache:
    """Updates as files of one folder, of `max_bytes` together at most: those that were used least recently go first.

    A file is the sha256 of what follows, and the update as safetensors. It takes its name when it is whole. So several
    processes may share a folder, and any of them may be killed. If the disk fails, work goes on without it.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._parts: Mapping[Path, frozenset[str]] = {}

    def get(self, key: UpdateKey) -> Update | None:
        """The update of that key, bit for bit as it was put; None if it is not there, or not what was put."""
        path = self._path(key)
        try:
            data = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("the cached update %s cannot be read: %s", path, error)
            return None
        if hashlib.sha256(data[_HASH_BYTES:]).digest() == data[:_HASH_BYTES]:
            try:
                return unpack(data[_HASH_BYTES:])[0]
            except TensorFileError as error:
                log.warning("the cached update %s is of no known format: %s", path, error)
        log.warning("the cached update %s is damaged", path)
        self.remove([path])
        return None

    def put(self, key: UpdateKey, update: Update) -> None:
        """Keep the update, unless it alone is too large."""
        data = pack(update, {"format": _FORMAT, "parts": " ".join(sorted(key.parts))})
        if _HASH_BYTES + len(data) > self._max_bytes:
            return
        unfinished = self._folder / f"{key.digest}.{os.getpid()}.part"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_private(unfinished, hashlib.sha256(data).digest() + data)
            unfinished.replace(self._path(key))
            self._evict()
        except OSError as error:
            log.warning("an update cannot be cached in %s: %s", self._folder, error)
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)

    def parts(self) -> Mapping[Path, frozenset[str]]:
        """What each file's update is made of, by what the file itself says. A whole one that does not tell is removed.

        A name always stands for the same parts, so that each file is opened once.
        """
        paths = [*self._folder.glob("*.update"), *self._folder.glob("*.part")]
        told = {path: self._parts.get(path) or _read_parts(path) for path in paths}
        self.remove([path for path, parts in told.items() if parts is None and path.suffix == ".update"])
        self._parts = {path: parts for path, parts in told.items() if parts is not None}
        return self._parts

    def remove(self, paths: Collection[Path]) -> None:
        """Delete these files."""
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("the cached update %s cannot be removed: %s", path, error)

    def _path(self, key: UpdateKey) -> Path:
        return self._folder / f"{key.digest}.update"

    def _evict(self) -> None:
        """What killed processes left unfinished goes like all else, by its age."""
        files = [(path, path.stat()) for path in self._folder.iterdir()]
        total = sum(stat.st_size for _, stat in files)
        for path, stat in sorted(files, key=lambda file: file[1].st_mtime_ns):
            if total <= self._max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= stat.st_size


def _write_private(path: Path, data: bytes) -> None:
    """Learned weights are nobody else's to read, wherever the folder is."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)


def _read_parts(path: Path) -> frozenset[str] | None:
    try:
        with path.open("rb") as file:
            file.seek(_HASH_BYTES)
            texts = read_texts(file)
    except (OSError, TensorFileError):
        return None
    return frozenset(texts.get("parts", "").split()) if texts.get("format") == _FORMAT else None


class UpdateCache:
    """The `capacity` updates that were asked for last; behind them the disk, if any.

    `forget` may be called by another thread.
    """

    def __init__(self, capacity: int, disk: DiskCache | None = None, note: Note = lambda _: None) -> None:
        """`note` is told of each update that is asked for."""
        self._capacity = capacity
        self._disk = disk
        self._note = note
        self._updates: OrderedDict[UpdateKey, Update] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: UpdateKey, make: Callable[[], Update]) -> Update:
        """The update of that key, made if it is nowhere."""
        found = self._updates.get(key)
        if found is None:
            found = self._from_disk(key, make)
        else:
            self._note(Source.MEMORY)
        with self._lock:
            self._updates[key] = found
            self._updates.move_to_end(key)
            while len(self._updates) > self._capacity:
                self._updates.popitem(last=False)
        return found

    def forget(self, lost: Lost) -> None:
        """Drop every update that something of which it was made is lost: `lost` is asked once, about all of it."""
        with self._lock:
            kept = list(self._updates)
        files = {} if self._disk is None else self._disk.parts()
        parts = frozenset[str]().union(*(key.parts for key in kept), *files.values())
        gone = lost(parts) if parts else frozenset[str]()
        with self._lock:
            for key in kept:
                if key.parts & gone:
                    self._updates.pop(key, None)
        if self._disk is not None:
            self._disk.remove([path for path, own in files.items() if own & gone])

    def _from_disk(self, key: UpdateKey, make: Callable[[], Update]) -> Update:
        found = None if self._disk is None else self._disk.get(key)
        self._note(Source.MADE if found is None else Source.DISK)
        if found is None:
            found = make()
            if self._disk is not None:
                self._disk.put(key, found)
        return found
