"""`python -m demo` over the tiny base, as a person runs it: a real stack, real training, real signals."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from app.domain.base_models import Canvas
from app.stack.waiting import becomes_true
from demo.layout import Layout
from tests.tiny_pipelines import write_tiny_sd

PATIENCE_SECONDS = 500.0
CONCEPTS = "my-duck,my-peach,my-shoe"


@pytest.fixture
def bases(tmp_path: Path) -> Path:
    """A folder of base models that holds the tiny one, on which two things fit side by side."""
    folder = tmp_path / "bases" / "tiny-sd"
    wide = write_tiny_sd(folder).model_copy(update={"canvas": Canvas(min_side=64, max_side=128)})
    (folder / "palimpsest.json").write_text(wide.model_dump_json())
    return tmp_path / "bases"


@contextmanager
def demo(output: Path, bases: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "demo", "--output", str(output), "--concepts", CONCEPTS, *options]
    variables = {**os.environ, "PALIMPSEST_BASE_MODELS_DIR": str(bases), "PALIMPSEST_TORCH_THREADS": "1"}
    with subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()


def left_over(output: Path) -> list[int]:
    """The processes whose arguments or environment name the demo's home."""
    found = []
    for process in psutil.process_iter():
        try:
            texts = [*process.cmdline(), process.environ().get("PALIMPSEST_HOME", "")]
        except psutil.Error:
            continue
        if any(str(output / "home") in text for text in texts):
            found.append(process.pid)
    return found


class Images(HTMLParser):
    """Counts what a page shows, and refuses what it would have to load."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        for name, value in attrs:
            if name in {"src", "href"}:
                assert (value or "").startswith("data:image/png;base64,"), value
                self.count += 1


def test_the_demo_ends_with_a_sheet_and_a_report(tmp_path: Path, bases: Path) -> None:
    output = tmp_path / "output"
    with demo(output, bases, "--base", "tiny-sd", "--steps", "3", "--images", "1") as process:
        printed, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, errors
    assert printed.splitlines()[-2:] == [str(output / "contact-sheet.png"), str(output / "report.html")]
    assert "self_replay · my-shoe" in printed
    assert_sheet_is_filled(output / "contact-sheet.png")
    assert_report_is_whole((output / "report.html").read_text())
    assert left_over(output) == []


def assert_sheet_is_filled(path: Path) -> None:
    layout = Layout(blocks=3, rows=4, columns=5, tiles=1)
    with Image.open(path) as sheet:
        assert sheet.size == layout.size
        pixels = sheet.convert("RGB")
    for block in range(layout.blocks):
        for row in range(3):
            for column in range(layout.columns):
                cell = np.asarray(pixels.crop(layout.cell(block, row, column)))
                assert _varies(cell), (block, row, column)
        # Both in one picture: by the two versions that have learned both.
        for column in range(layout.columns):
            cell = np.asarray(pixels.crop(layout.wide_tile(layout.cell(block, 3, column))))
            assert _varies(cell) == (column >= 3), (block, column)


def _varies(cell: np.ndarray) -> bool:
    """Whether some channel does: the paper's three differ from each other."""
    return bool(cell.std(axis=(0, 1)).max() > 2)


def assert_report_is_whole(page: str) -> None:
    images = Images()
    images.feed(page)
    assert images.count == 3 * 3 * 5 + 3 * 2
    for text in ("my-duck", "my-peach", "my-shoe", "naive", "merge", "self_replay", "tiny-sd", "learning_rate"):
        assert text in page
    # Version 1 is the same adapter under naive and merge, bit for bit; the last two are the base's and the code's.
    assert len(set(re.findall(r"[0-9a-f]{64}", page))) == (1 + 2 * 2) + 3 + 2


def test_ctrl_c_stops_everything(tmp_path: Path, bases: Path) -> None:
    output = tmp_path / "output"
    with demo(output, bases, "--base", "tiny-sd", "--steps", "20000") as process:
        log = output / "home" / "logs" / "worker.log"
        assert becomes_true(lambda: log.exists() and "begins" in log.read_text(), PATIENCE_SECONDS)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode != 0
    assert left_over(output) == []


def test_a_failure_is_one_line_that_names_the_logs(tmp_path: Path, bases: Path) -> None:
    output = tmp_path / "output"
    with demo(output, bases, "--base", "none-such") as process:
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert re.fullmatch(rf"demo: .*none-such.* \(logs: {re.escape(str(output / 'home' / 'logs'))}\)\n", errors)
    assert left_over(output) == []
