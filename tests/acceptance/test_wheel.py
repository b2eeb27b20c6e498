"""The wheel is whole: installed into an empty environment, `palimpsest up` works from any folder."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.acceptance.foreign_client import ForeignClient
from tests.acceptance.installed import NO_CHECKOUT, ROOT, build_wheel, install, metadata_of
from tests.acceptance.up import Up, ended

SHIPPED = {"app", "worker", "sweeper", "migrations", "base_models"}
NOT_SHIPPED = {"benchmarks", "demo", "deploy", "docs", "recipes", "samples", "tests"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not re.match(r"palimpsest-[^/]*\.dist-info/", name)}


def files_of(folder: Path) -> Iterator[str]:
    """All that a checkout has in the folder, its notes for readers aside."""
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md":
            yield path.relative_to(ROOT).as_posix()


def test_the_wheel_has_every_file_of_the_product_and_nothing_else(wheel: Path) -> None:
    """Data too: a page, a template or weights that nobody named would be missing only where nobody looks."""
    assert names_in(wheel) == {name for folder in SHIPPED for name in files_of(ROOT / folder)}


def test_every_folder_is_shipped_or_is_not() -> None:
    visible = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert visible - {"build", "dist", "demo-output"} - {path.name for path in ROOT.glob("*.egg-info")} == (
        SHIPPED | NOT_SHIPPED
    )


def test_up_works_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    """Base model and migrations included: the embedded base draws a picture."""
    programs = install(wheel, tmp_path / "environment")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    program = (str(programs / "palimpsest"),)
    with ended(Up(tmp_path / "home", variables=NO_CHECKOUT, program=program, folder=elsewhere)) as up:
        up.ready()
        interpreters = {psutil.Process(up.pids()[name]).cmdline()[0] for name in ("api", "worker", "sweeper")}
        assert interpreters == {str(programs / "python")}
        user = ForeignClient(up.url(), (up.home / "admin.key").read_text().strip())
        body = {"name": "first", "base_model": "icons-64", "strategy": {"name": "merge"}, "training": {}}
        lineage = str(user.call("POST", "/v1/lineages", 201, json=body).json()["id"])
        assert user.pictures(lineage, 0, "an icon of a cat")


def test_the_licences_travel_with_the_wheel(wheel: Path) -> None:
    names = {file.name for file in metadata_of(wheel).files or [] if "licenses" in file.parts}
    assert names >= {"LICENSE", "NOTICE"}
