"""One word, one thing: no two public classes and no two modules of the product share a name.

A resource has one module in each layer of the front end, under one name: `app/db/jobs.py`, `app/services/jobs.py`.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PRODUCT = ("app", "worker", "sweeper")
LAYERS = {f"app/{layer}" for layer in ("domain", "db", "services", "integrity", "api", "api/routers", "api/schemas")}

# Names that several modules have, and why.
SHARED = {
    "__init__": "Python's own",
    "base": "what the other classes of a room build on",
    "job": "the way in to a kind of job that has a folder",
}


def modules() -> list[Path]:
    return [path.relative_to(ROOT) for room in PRODUCT for path in sorted((ROOT / room).rglob("*.py"))]


def twice(names: Iterable[tuple[str, Path]]) -> dict[str, list[str]]:
    found = defaultdict(list)
    for name, path in names:
        found[name].append(str(path))
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def test_no_two_classes_share_a_name() -> None:
    classes = (
        (node.name, path)
        for path in modules()
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert twice(classes) == {}


def test_no_two_modules_share_a_name() -> None:
    """A resource's module in one layer stands for those in all: two of a name in one layer cannot be."""
    named = {(path.stem, Path("app") if str(path.parent) in LAYERS else path) for path in modules()}
    assert twice((name, path) for name, path in sorted(named) if name not in SHARED) == {}


def test_every_exception_is_needed() -> None:
    assert twice((path.stem, path) for path in modules()).keys() >= SHARED.keys()
