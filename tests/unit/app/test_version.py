"""One version, by SemVer, in `pyproject.toml`; everything else repeats it."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from app import cli
from app.api.schemas.catalog import LiveBody, ReadyBody
from app.main import create_app
from app.settings import Settings
from app.version import VERSION

ROOT = Path(__file__).parent.parent.parent.parent
STATED: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_the_version_is_semver() -> None:
    assert re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?", STATED)


def test_the_installed_package_is_of_this_version() -> None:
    assert VERSION == STATED, "install again: make test does it after a change of pyproject.toml"


def test_the_api_tells_it() -> None:
    assert create_app(Settings()).openapi()["info"]["version"] == STATED
    assert LiveBody().version == STATED
    assert ReadyBody(status="ready", postgres=True, storage=True, broker=True).version == STATED


def test_the_command_tells_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["palimpsest", "--version"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert capsys.readouterr().out == f"palimpsest {STATED}\n"


def test_nothing_else_states_it() -> None:
    code = [path for room in ("app", "worker") for path in (ROOT / room).rglob("*.py")]
    assert [path for path in code if f'"{STATED}"' in path.read_text(encoding="utf-8")] == []


def test_the_changelog_has_a_section_for_it() -> None:
    assert f"## {STATED}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
