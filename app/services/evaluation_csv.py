"""An evaluation as a table for spreadsheets: one line for each cell of the matrix."""

import csv
import io

from app.domain.evaluations import EvaluatedConcept, EvaluationResult, Matrix

HEADER = (
    "version",
    "learned_by_version",
    "concept",
    "kind",
    "learned_in",
    "encoder",
    "score",
    "standard_error",
    "self_retention",
    "prompt_alignment",
    "base_drift",
)
ISOLATED = "isolated"
"""What stands in the column `version` for R*."""


def to_csv(result: EvaluationResult) -> str:
    """A header, then version after version; undefined numbers are empty. RFC 4180."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(HEADER)
    for i, version in enumerate(result.versions):
        for j, concept in enumerate(result.concepts):
            cell = [matrix[i][j] for matrix in _matrices(result)]
            about = [version.version, version.concept or "", *_about(concept)]
            writer.writerow([*about, *map(_number, [*cell, version.base_drift])])
    for j, score in enumerate(result.isolated or ()):
        writer.writerow([ISOLATED, "", *_about(result.concepts[j]), _number(score), "", "", "", ""])
    return stream.getvalue()


def _matrices(result: EvaluationResult) -> tuple[Matrix, ...]:
    return result.scores, result.standard_errors, result.self_retention, result.prompt_alignment


def _about(concept: EvaluatedConcept) -> tuple[str, str, int, str]:
    return concept.name, concept.kind.value, concept.learned_in, concept.encoder


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)
