"""The score of each concept over the versions."""

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from app.domain.evaluations import EvaluationProtocol, EvaluationResult
from worker.evaluation.plots.figures import save, score_told, version_labels

_STANDARD_ERRORS = 2


def curve(result: EvaluationResult, protocol: EvaluationProtocol, image_format: str) -> bytes:
    """A PNG or SVG: a line per concept from the version that learned it, and its score by the base dotted."""
    figure = Figure(figsize=(8, 4.8))
    axes = figure.add_subplot()
    for j, concept in enumerate(result.concepts):
        places, scores, errors = [], [], []
        for i, version in enumerate(result.versions):
            score, error = result.scores[i][j], result.standard_errors[i][j]
            if score is not None and version.version >= concept.learned_in:
                places.append(i)
                scores.append(score)
                errors.append(_STANDARD_ERRORS * (error or 0.0))
        line = axes.errorbar(places, scores, yerr=errors, marker="o", capsize=3, label=concept.name)
        if (floor := result.scores[0][j]) is not None:
            axes.axhline(floor, linestyle=":", linewidth=1, color=line[0].get_color(), alpha=0.6)
    axes.xaxis.set_major_locator(FixedLocator(range(len(result.versions))))
    axes.set_xticklabels(version_labels(result), rotation=20, ha="right")
    axes.set_xlim(-0.3, len(result.versions) - 0.7)
    axes.set_xlabel("version, and the concept that it learned")
    axes.set_ylabel("similarity to the references\n(cosine; higher is better)")
    axes.set_title("How well each concept is drawn, version after version", fontsize=14, pad=36)
    told = f"{score_told(result, protocol)}.\n"
    told += (
        f"Bars: {_STANDARD_ERRORS} standard errors. Dotted: the base's score for the same prompts. Falling: forgetting."
    )
    axes.text(0.5, 1.02, told, transform=axes.transAxes, ha="center", fontsize=8.5)
    axes.grid(alpha=0.3)
    axes.legend(title="concept", loc="center left", bbox_to_anchor=(1.01, 0.5))
    return save(figure, image_format)
