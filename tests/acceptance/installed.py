"""The wheel as a stranger gets it: built from a copy of the checkout, installed where nothing of the checkout is.

Torch and the other dependencies are gigabytes, so each is linked as this environment has it, and no more than the
wheel asks for. pip then resolves the wheel's requirements against them, without an index.
"""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
# Variables that lead no Python to the checkout.
NO_CHECKOUT = {"PYTHONPATH": ""}
# Only what a fresh checkout has: no caches, no environment, nothing that was built or drawn.
_NOT_OURS = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "demo-output")


def build_wheel(folder: Path) -> Path:
    """Build the wheel in `folder`; its path."""
    shutil.copytree(ROOT, folder / "checkout", ignore=_NOT_OURS)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder))
    _pip("wheel", *options, str(folder / "checkout"))
    return next(folder.glob("*.whl"))


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel into a new environment, with what it requires; the environment's `bin`."""
    venv.create(folder, with_pip=False)
    site = next(folder.glob("lib/python*/site-packages"))
    requirements = [Requirement(line) for line in metadata_of(wheel).requires or [] if "extra ==" not in line]
    for needed in _closure(requirements):
        _link(needed, site, folder / "bin")
    _pip("--python", str(folder / "bin" / "python"), "install", "--no-index", "--no-compile", str(wheel))
    return folder / "bin"


def metadata_of(wheel: Path) -> PathDistribution:
    """What the wheel says of itself."""
    return PathDistribution(next(path for path in zipfile.Path(wheel).iterdir() if path.name.endswith(".dist-info")))


def _pip(*words: str) -> None:
    command = (sys.executable, "-m", "pip", "--disable-pip-version-check", *words)
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | NO_CHECKOUT)
    assert run.returncode == 0, run.stdout + run.stderr


def _closure(requirements: list[Requirement]) -> Iterator[Distribution]:
    """The installed distributions that these need, directly or not."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = list(requirements)
    while waiting:
        needed = waiting.pop()
        key = (needed.name.lower(), frozenset(needed.extras))
        if key not in seen:
            seen.add(key)
            found = distribution(needed.name)
            yield found
            waiting += _needed_by(found, needed.extras or {""})


def _needed_by(found: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for line in found.requires or []:
        needed = Requirement(line)
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
            yield needed


def _link(found: Distribution, site: Path, programs: Path) -> None:
    """Link each package, module and program of a distribution. A script names this environment's Python: left out."""
    for file in found.files or []:
        path = Path(str(found.locate_file(file)))
        if file.parts[0] != "..":
            path = Path(str(found.locate_file(file.parts[0])))
            _link_once(path, site / file.parts[0])
        elif path.resolve().parent == Path(sys.executable).parent.resolve() and not _is_script(path):
            _link_once(path.resolve(), programs / path.name)


def _link_once(path: Path, link: Path) -> None:
    if not link.exists() and path.name != "__pycache__":
        link.symlink_to(path)


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"#!"
