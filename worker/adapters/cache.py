"""Accumulated updates that were replayed lately: the last few in memory, more of them on disk.

Both go by the hash of the chain, of which an update is a function; so nothing in them is ever out of date.
"""

import hashlib
import logging
import os
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from worker.adapters.accumulated import Update
from worker.adapters.tensor_file import TensorFileError, pack, unpack

log = logging.getLogger(__name__)

_FORMAT = {"format": "palimpsest-update-1"}
_HASH_BYTES = hashlib.sha256().digest_size


class DiskCache:
    """Updates as files of one folder, of `max_bytes` together at most: those that were used least recently go first.

    A file is the sha256 of what follows, and the update as safetensors. It takes its name when it is whole, so several
    processes may share a folder, and any of them may be killed. Where the disk fails, work goes on without it.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def get(self, key: str) -> Update | None:
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
        log.warning("the cached update %s is damaged and is removed", path)
        path.unlink(missing_ok=True)
        return None

    def put(self, key: str, update: Update) -> None:
        """Keep the update, unless it alone is too large."""
        data = pack(update, _FORMAT)
        if _HASH_BYTES + len(data) > self._max_bytes:
            return
        unfinished = self._folder / f"{key}.{os.getpid()}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(hashlib.sha256(data).digest() + data)
            unfinished.replace(self._path(key))
            self._evict()
        except OSError as error:
            log.warning("an update cannot be cached in %s: %s", self._folder, error)
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.update"

    def _evict(self) -> None:
        """What killed processes left unfinished goes like all else, by its age."""
        files = [(path, path.stat()) for path in self._folder.iterdir()]
        total = sum(stat.st_size for _, stat in files)
        for path, stat in sorted(files, key=lambda file: file[1].st_mtime_ns):
            if total <= self._max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= stat.st_size


class UpdateCache:
    """The `capacity` updates that were asked for last, by the hash of their chain; behind them the disk, if any."""

    def __init__(self, capacity: int, disk: DiskCache | None = None) -> None:
        self._capacity = capacity
        self._disk = disk
        self._updates: OrderedDict[str, Update] = OrderedDict()

    def get(self, key: str, make: Callable[[], Update]) -> Update:
        """The update of that key, made if it is nowhere."""
        if key not in self._updates:
            self._updates[key] = self._from_disk(key, make)
            while len(self._updates) > self._capacity:
                self._updates.popitem(last=False)
        self._updates.move_to_end(key)
        return self._updates[key]

    def _from_disk(self, key: str, make: Callable[[], Update]) -> Update:
        if self._disk is None:
            return make()
        found = self._disk.get(key)
        if found is None:
            found = make()
            self._disk.put(key, found)
        return found
