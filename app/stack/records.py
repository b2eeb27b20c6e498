"""The processes that a supervisor has started, on disk. So the next one can stop what a killed one left."""

import json
from dataclasses import asdict
from pathlib import Path

from app.stack.private_files import write_private
from app.stack.processes import Started


class Records:
    """The file `processes.json` of a home; only the holder of the home's lock may use it."""

    def __init__(self, home: Path) -> None:
        self._path = home / "processes.json"
        self._started: dict[str, Started] = {}

    def add(self, name: str, started: Started) -> None:
        """Remember a process, in place of an earlier one of that name."""
        self._started[name] = started
        self._save()

    def clear(self) -> None:
        """Forget all: they have been stopped."""
        self._started.clear()
        self._path.unlink(missing_ok=True)

    def stop_leftovers(self) -> None:
        """Stop what an earlier supervisor of this home has left running, the latest started first."""
        saved = json.loads(self._path.read_text()) if self._path.exists() else {}
        for fields in reversed(saved.values()):
            Started(**fields).stop()
        self._path.unlink(missing_ok=True)

    def _save(self) -> None:
        write_private(self._path, json.dumps({name: asdict(started) for name, started in self._started.items()}))
