"""The README and the code say the same."""

import re
from pathlib import Path

import pytest

from app.main import create_app
from app.settings import Settings

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

CALL = re.compile(r'curl (?P<options>[^|]*?)"\$API(?P<path>/[^"?]*)[^"]*"(?P<more>(?:\\\n|[^|\n])*)')


def calls() -> list[tuple[str, str]]:
    """The method and path of every curl command."""
    found = []
    for call in CALL.finditer(README):
        has_body = re.search(r"(^| )-[dF] ", call["options"] + call["more"]) is not None
        found.append(("post" if has_body else "get", call["path"]))
    return found


def paths_of_the_map() -> list[str]:
    """The folders in the table of rooms."""
    rooms = ARCHITECTURE.split("\n## Rooms\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", rooms, re.MULTILINE)


def test_every_call_is_a_route() -> None:
    routes = {
        (method, re.sub(r"\{\w+\}", "*", path))
        for path, methods in create_app(Settings()).openapi()["paths"].items()
        for method in methods
    }
    made = [(method, re.sub(r"\$\w+|(?<=/)\d+", "*", path)) for method, path in calls()]
    assert len(made) == README.count("curl ")
    assert set(made) <= routes


@pytest.mark.parametrize("path", paths_of_the_map())
def test_every_path_of_the_map_exists(path: str) -> None:
    assert (ROOT / path).is_dir()


def test_the_map_shows_every_folder_that_has_code() -> None:
    packages = {path.parent.name + "/" for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(paths_of_the_map())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_exists(page: Path) -> None:
    """In backticks, with a folder and an ending: `worker/attempt/lease.py`."""
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|json|ini|toml|yml))`", page.read_text(encoding="utf-8"))
    missing = [name for name in named if not any((base / name).exists() for base in (ROOT, page.parent))]
    assert missing == []


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"^make (\w+)", README, re.MULTILINE)) == {"demo", "test"} <= set(targets)


def test_decisions_are_numbered_without_a_gap() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    assert all(page.read_text(encoding="utf-8").startswith(f"# {int(page.name[:4])}. ") for page in pages)
