"""The real icons that benchmarks compare with and teach; they come from npm and are not in this repository."""

from pathlib import Path

from recipes.icons_64.data import WORK_DIR, Pictures

__all__ = ["WORK_DIR", "IconsMissingError", "load_icons"]


class IconsMissingError(Exception):
    """The icons have not been fetched."""


def load_icons(work_dir: Path) -> Pictures:
    """All icons of all sets.

    Raises:
        IconsMissingError: stage `data` of the recipe was not run.
    """
    try:
        return Pictures.load(work_dir)
    except FileNotFoundError as error:
        detail = f"No icons in {work_dir}: run `python -m recipes.icons_64 data` first; it needs npm."
        raise IconsMissingError(detail) from error
