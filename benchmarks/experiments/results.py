"""Results as JSON lines, one per run, added as they come: a killed experiment goes on from what it has done."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from app.domain.base import Value

R = TypeVar("R", bound=Value)


class Results(Generic[R]):
    """The runs in a file, by their key. A line is a whole run, or was torn by a kill and is done again."""

    def __init__(self, path: Path, kind: type[R], key_of: Callable[[R], str]) -> None:
        self._path = path
        self._key_of = key_of
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        if len(whole) != len(lines):
            path.write_text("".join(whole), encoding="utf-8")
        runs = [kind.model_validate_json(line) for line in whole]
        self._runs = {key_of(run): run for run in runs}

    def get(self, key: str) -> R | None:
        return self._runs.get(key)

    def add(self, run: R) -> None:
        """Keep the run, in the file before in memory."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(run.model_dump_json() + "\n")
        self._runs[self._key_of(run)] = run

    def all(self) -> list[R]:
        """In the order in which they came."""
        return list(self._runs.values())
