"""The matrix R as a heatmap."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from app.domain.evaluations import EvaluationProtocol, EvaluationResult, Row, SecondOpinion
from worker.evaluation.metrics import FloatArray
from worker.evaluation.plots.figures import figure_text, save, score_told, version_labels

_ALONE = "Each alone: taught by itself, from the base, with nothing to disturb it: what could be reached."
_REAL = "Real pictures: the references among themselves; no drawing escapes the VAE, and few come nearer."
_LEAST_RANGE = 0.2
_LIGHT_TEXT_FROM = 0.6  # of the colour scale; above it black letters are hard to read


def heatmap(result: EvaluationResult, protocol: EvaluationProtocol) -> bytes:
    """A PNG: a row per version, a column per concept; beneath a line what no version drew: isolated and real ones."""
    beneath = _beneath(result)
    labels = [*version_labels(result), *beneath]
    rows = [*result.scores, *beneath.values()]
    cells = np.array([[np.nan if value is None else value for value in row] for row in rows])
    height, width = cells.shape
    figure = Figure(figsize=(3.6 + 0.95 * max(width, 4), 2.9 + 0.46 * height))
    axes = figure.add_subplot()
    axes.set_facecolor("#f2f2f2")
    scale = _scale(cells)
    image = axes.imshow(cells, cmap="YlGnBu", aspect="auto", norm=scale)
    _write_numbers(axes, cells, scale)
    for j, concept in enumerate(result.concepts):
        row = next(i for i, version in enumerate(result.versions) if version.version == concept.learned_in)
        # Above the line to the isolated row, and whole at the edge of the axes.
        frame = Rectangle((j - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="crimson", linewidth=2.2)
        axes.add_patch(frame).set(zorder=3, clip_on=False)
    if beneath:
        axes.axhline(len(result.scores) - 0.5, color="black", linewidth=1.5)
    axes.set_xticks(range(width), [concept.name for concept in result.concepts], rotation=20, ha="right")
    axes.set_yticks(range(height), labels)
    axes.set_xlabel("concept that is asked for")
    axes.set_ylabel("version that is asked (top: oldest)")
    axes.set_title("What each version still knows of each concept", fontsize=14, pad=34)
    told = score_told(result, protocol)
    axes.text(0.5, 1.02, f"{told}.\nDarker and higher is better.", transform=axes.transAxes, ha="center", fontsize=8.5)
    bar = figure.colorbar(image, ax=axes)
    bar.set_label("similarity to the references (cosine; higher is better)")
    figure.text(0.5, -0.06, _how_to_read(result), ha="center", va="top", fontsize=9)
    return save(figure, "png")


def _beneath(result: EvaluationResult) -> dict[str, Row]:
    rows = {} if result.isolated is None else {"each alone": result.isolated}
    ceilings = {"real pictures": result.real, "real, through the VAE": result.real_through_vae}
    # Results of former releases have no ceilings.
    return rows | {label: row for label, row in ceilings.items() if row}


def _scale(cells: FloatArray) -> Normalize:
    known = cells[~np.isnan(cells)]
    if not len(known):
        return Normalize(0, 1)
    # Over a narrow range, colours would make much of what is noise.
    return Normalize(min(known.min(), known.max() - _LEAST_RANGE), known.max())


def _write_numbers(axes: Axes, cells: FloatArray, scale: Normalize) -> None:
    for (i, j), value in np.ndenumerate(cells):
        is_dark = not np.isnan(value) and float(scale(value)) > _LIGHT_TEXT_FROM
        text = figure_text(None if np.isnan(value) else value)
        axes.text(j, i, text, ha="center", va="center", color="white" if is_dark else "black")


def _second_told(second: SecondOpinion) -> str:
    """The other encoder's view in a line; the CSV has all its cells."""
    return (
        f"Objects by {second.encoder}: score {figure_text(second.average_score)}, forgetting "
        f"{figure_text(second.average_forgetting)}, retention {figure_text(second.retention)}."
    )


def _how_to_read(result: EvaluationResult) -> str:
    found = result.metrics
    lines = [
        "Read down a column, and compare within it: each concept has a floor of its own. The red frame is the version",
        "that has just learned the concept; what is paler beneath it was forgotten since. Row 0 is the base, which",
        "knows none of them: its scores are the floor, not zero. Grey: not learned yet, or cannot be scored.",
        *([] if result.isolated is None else [_ALONE]),
        *([_REAL] if result.real else []),
        *([] if result.second is None else [_second_told(result.second)]),
        "",
        f"plasticity {figure_text(found.plasticity)} (score when just learned, higher is better)"
        f"   ·   forgetting {figure_text(found.average_forgetting)} (lower is better)",
        f"self-retention {figure_text(found.self_retention)}   ·   retention {figure_text(found.retention)}"
        "   (share of what was learned that is left: 1 all, 0 nothing, – undefined)",
    ]
    return "\n".join(lines)
