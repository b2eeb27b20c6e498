"""The contact sheet: the same prompts and noises, drawn by version after version."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from app.domain.evaluations import EvaluationResult
from worker.evaluation.plots.figures import figure_text, save, version_labels

_COLUMNS = 2
_THUMBNAIL_PIXELS = 128
_CELL_INCHES = 1.25
_GAP_PIXELS = 2

Tiles = Mapping[tuple[int, int], Sequence[Image.Image]]


def sheet(result: EvaluationResult, references: Sequence[Sequence[Image.Image]], tiles: Tiles) -> dict[str, bytes]:
    """The sheet as `png` and as `svg`: a row per concept; the references, then a column per version.

    `tiles` are pictures by the version's row and the concept's column; row -1 is the concept learned alone.
    """
    heads = ["references", *version_labels(result)]
    places = list(range(len(result.versions)))
    if result.isolated is not None:
        heads.append("learned alone")
        places.append(-1)
    figure = Figure(figsize=(_CELL_INCHES * (len(heads) + 1), _CELL_INCHES * 1.22 * len(result.concepts) + 0.9))
    grid = figure.subplots(len(result.concepts), len(heads), squeeze=False)
    for j, concept in enumerate(result.concepts):
        learned_at = next(i for i, row in enumerate(result.versions) if row.version == concept.learned_in)
        _show(grid[j][0], references[j][: _COLUMNS**2], "")
        grid[j][0].set_ylabel(f"{concept.name}\n({concept.class_noun or 'style'})", fontsize=9)
        for axes, i in zip(grid[j][1:], places, strict=True):
            score = result.scores[i][j] if i >= 0 else (result.isolated or ())[j]
            _show(axes, tiles.get((i, j), ()), figure_text(score), framed=i == learned_at)
    for axes, head in zip(grid[0], heads, strict=True):
        axes.set_title(head, fontsize=8.5)
    figure.suptitle("The same prompts and the same noises, version after version", fontsize=13)
    figure.text(
        0.5,
        0.0,
        "Red frame: the version that has just learned the concept. To the right of it: what later concepts have left.\n"
        "Beneath each: similarity to the references (cosine; higher is better).",
        ha="center",
        va="top",
        fontsize=8.5,
    )
    return {image_format: save(figure, image_format) for image_format in ("png", "svg")}


def _show(axes: Any, pictures: Sequence[Image.Image], caption: str, *, framed: bool = False) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set(visible=framed, edgecolor="crimson", linewidth=3)
    if pictures:
        axes.imshow(_tiled(pictures), interpolation="nearest")
        axes.set_xlabel(caption, fontsize=8, labelpad=2)
    else:
        axes.set_facecolor("#f2f2f2")


def _tiled(pictures: Sequence[Image.Image]) -> Image.Image:
    """Up to four pictures in a square, as thumbnails."""
    side = min(_THUMBNAIL_PIXELS, min(min(picture.size) for picture in pictures))
    columns = min(_COLUMNS, len(pictures))
    step = side + _GAP_PIXELS
    rows = -(-len(pictures) // columns)
    canvas = Image.new("RGB", (columns * step - _GAP_PIXELS, rows * step - _GAP_PIXELS), "white")
    for n, picture in enumerate(pictures):
        small = picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
        canvas.paste(small, (n % columns * step, n // columns * step))
    return canvas
