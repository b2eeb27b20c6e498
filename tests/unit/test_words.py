"""Words that make a sentence hard to read are nowhere in code or docs; CONTRIBUTING.md says how we write."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# Spelled in two parts, so that this list does not find itself.
AVOIDED = ("a" "new", "who" "ever", "what" "soever", "is none" " of", "there" "of", "tells" " of")  # fmt: skip
PATTERN = re.compile(rf"\b({'|'.join(AVOIDED)})\b", re.IGNORECASE)
TEXTS = {".py", ".md", ".toml", ".yml", ".yaml", ".mako", ".html", ".css", ".js", ""}


def texts() -> list[Path]:
    """Every file of code or prose that git knows, or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    paths = (ROOT / name for name in names)
    return [path for path in paths if path.suffix in TEXTS and path.name != "LICENSE" and path.is_file()]


def test_it_looks_at_code_and_docs() -> None:
    names = {str(path.relative_to(ROOT)) for path in texts()}
    assert {"README.md", "Makefile", "app/main.py", "tests/unit/test_words.py"} <= names


@pytest.mark.parametrize("word", AVOIDED)
def test_it_finds_each_word(word: str) -> None:
    assert PATTERN.search(f"Begin {word.capitalize()} it.")


def test_no_file_has_an_avoided_word() -> None:
    lines = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if PATTERN.search(line)
    ]
    assert lines == []
