"""The import contracts name every package, and what they forbid holds of imports from libraries too."""

import configparser
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Rooms whose modules stand in layers of their own: a new module has to be given a place among them.
LAYERED_ROOMS = {"app", "sweeper", "worker", "worker.attempt", "worker.jobs"}


def contracts() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter", encoding="utf-8")
    return parser


def names(value: str) -> set[str]:
    return set(value.replace("|", " ").replace(":", " ").split())


def top_level_packages() -> set[str]:
    """Every visible folder that has Python files, however deep."""
    folders = (path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {folder.name for folder in folders if next(folder.rglob("*.py"), None) is not None} - {"build"}


def test_every_package_is_in_the_contracts() -> None:
    assert names(contracts()["importlinter"]["root_packages"]) == top_level_packages()
    assert names(contracts()["importlinter:contract:packages"]["layers"]) == top_level_packages()


def test_every_package_is_type_checked() -> None:
    assert set(PYPROJECT["tool"]["mypy"]["files"]) == top_level_packages()


def test_the_layers_of_each_room_are_exhaustive() -> None:
    layered = [section for section in contracts().values() if "containers" in section]
    assert {section["containers"].strip() for section in layered} == LAYERED_ROOMS
    assert all(section.getboolean("exhaustive") for section in layered)


@pytest.mark.parametrize("process", ["app.main", "app.cli", "sweeper.__main__"])
def test_no_torch_is_loaded_outside_the_worker(process: str) -> None:
    """Not by way of a library either, which the contracts do not look into."""
    code = f"import sys, {process}; print({{'torch', 'diffusers', 'transformers'}} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (run.stdout, run.stderr) == ("set()\n", "")
