"""The study's figures: what is learned against what is lost, and what is left of each concept in the end."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.continual_study.outcomes import Outcome, over_runs
from benchmarks.continual_study.tables import Standings
from worker.evaluation.metrics import FloatArray
from worker.evaluation.plots.figures import save

_RATE = ", rate "
# Rows of one strategy, each at another rate, share a colour and differ in their markers.
_MARKERS = "osD^v"
_COLOURS: Sequence[tuple[float, float, float]] = colormaps["tab20"].colors  # type: ignore[attr-defined]


def trade_off(standings: Standings) -> bytes:
    """A PNG: a point per strategy with its intervals; learning rates of one strategy are joined by a line."""
    figure = Figure(figsize=(8, 5))
    axes = figure.add_subplot()
    of_strategy: dict[str, list[tuple[float, float]]] = {}
    for name, outcomes in standings.items():
        learned = over_runs(outcomes, lambda one: one.plasticity)
        lost = over_runs(outcomes, lambda one: one.forgetting)
        if learned is None or lost is None:
            continue
        strategy = name.split(_RATE)[0]
        points = of_strategy.setdefault(strategy, [])
        points.append((learned.value, lost.value))
        axes.errorbar(
            learned.value,
            lost.value,
            xerr=[[learned.value - learned.low], [learned.high - learned.value]],
            yerr=[[lost.value - lost.low], [lost.high - lost.value]],
            color=_COLOURS[list(of_strategy).index(strategy) % len(_COLOURS)],
            marker=_MARKERS[(len(points) - 1) % len(_MARKERS)],
            capsize=3,
            elinewidth=0.8,
            label=f"{name} ({len(outcomes)} runs)",
        )
    for points in of_strategy.values():
        axes.plot(*zip(*sorted(points), strict=True), color="grey", linewidth=1, zorder=0)
    axes.set_xlabel("plasticity: similarity to the references when just learned (cosine; higher is better)")
    axes.set_ylabel("average forgetting\n(cosine; lower is better)")
    axes.set_title(
        "What is learned, and what is lost of it\n(best: low and to the right; bars: 95% intervals over runs)"
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
    return save(figure, "png")


def heatmap(standings: Standings) -> bytes:
    """A PNG: a row per strategy, a column per place in the stream; when just learned, and in the end."""
    names = list(standings)
    figure = Figure(figsize=(13, 1.6 + 0.42 * len(names)))
    left, right = figure.subplots(1, 2, sharey=True)
    panels = [_cells(standings, names, at_end=False), _cells(standings, names, at_end=True)]
    known = np.concatenate([panel[~np.isnan(panel)] for panel in panels])
    for axes, cells, title in zip((left, right), panels, ("when just learned", "in the end"), strict=True):
        image = axes.imshow(cells, cmap="YlGnBu", aspect="auto", vmin=known.min(), vmax=known.max())
        _write(axes, cells, float(known.mean()))
        axes.set_title(title)
        axes.set_xlabel("place of the concept in the stream")
        axes.set_xticks(range(cells.shape[1]), [str(place + 1) for place in range(cells.shape[1])])
    left.set_yticks(range(len(names)), names)
    bar = figure.colorbar(image, ax=[left, right])
    bar.set_label("similarity to the references\n(cosine; darker and higher is better)")
    return save(figure, "png")


def _cells(standings: Standings, names: Sequence[str], *, at_end: bool) -> FloatArray:
    return np.array([_mean_by_place(standings[name], at_end=at_end) for name in names])


def _mean_by_place(outcomes: Sequence[Outcome], *, at_end: bool) -> FloatArray:
    mean: FloatArray = np.mean([one.final if at_end else one.learned for one in outcomes], axis=0)
    return mean


def _write(axes: Axes, cells: FloatArray, dark_from: float) -> None:
    for (i, j), value in np.ndenumerate(cells):
        text = "–" if np.isnan(value) else f"{value:.2f}"
        axes.text(j, i, text, ha="center", va="center", color="white" if value > dark_from else "black", fontsize=8)
