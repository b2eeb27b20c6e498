"""What all figures share: how they are saved, and how versions and concepts are named on them."""

import io
from typing import Any

import matplotlib as mpl

from app.domain.evaluations import EvaluatedVersion, EvaluationProtocol, EvaluationResult

_DPI = 130


def save(figure: Any, image_format: str) -> bytes:
    """The figure as `png` or `svg`; the same figure gives the same bytes."""
    stream = io.BytesIO()
    # SVG: letters stay letters; ids from a fixed salt and no date.
    with mpl.rc_context({"svg.hashsalt": "palimpsest", "svg.fonttype": "none"}):
        metadata = {"Date": None} if image_format == "svg" else {"Software": None}
        figure.savefig(stream, format=image_format, dpi=_DPI, bbox_inches="tight", metadata=metadata)
    return stream.getvalue()


def version_labels(result: EvaluationResult) -> list[str]:
    """One for each row, such as `2: + rocket`."""
    return [f"{row.version}: {_what(row)}" for row in result.versions]


def _what(row: EvaluatedVersion) -> str:
    if row.version == 0:
        return "base"
    return "import" if row.concept is None else f"+ {row.concept}"


def score_told(result: EvaluationResult, protocol: EvaluationProtocol) -> str:
    """What a score is, in words."""
    names = sorted({concept.encoder for concept in result.concepts})
    encoders = f"encoder{'s' if len(names) > 1 else ''} {' and '.join(names)}"
    counts = " or ".join(sorted({str(protocol.pictures_per_cell(concept.kind)) for concept in result.concepts}))
    return f"mean cosine of {counts} drawn pictures to the concept's references, {encoders}"


def figure_text(value: float | None, digits: int = 2) -> str:
    """A number, zero without a sign; or a dash for what is undefined."""
    return "–" if value is None else f"{value:z.{digits}f}"
