"""An evaluation as a table for spreadsheets: one line for each cell of the matrix."""

import csv
import io
from collections.abc import Iterator, Sequence

from app.domain.evaluations import EvaluatedConcept, EvaluationResult, Matrix, SecondOpinion

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
Line = list[str | int]

ISOLATED, REAL, REAL_THROUGH_VAE = "isolated", "real", "real_through_vae"
"""What stands in the column `version` for R*, and for the ceilings."""


def to_csv(result: EvaluationResult) -> str:
    """A header, then version after version, then what no version drew; undefined numbers are empty. RFC 4180.

    A second encoder's lines follow, with its name in the column `encoder`.
    """
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(HEADER)
    for i, version in enumerate(result.versions):
        for j, concept in enumerate(result.concepts):
            cell = [matrix[i][j] for matrix in _matrices(result)]
            about = [version.version, version.concept or "", *_about(concept, concept.encoder)]
            writer.writerow([*about, *map(_number, [*cell, version.base_drift])])
    encoders = [concept.encoder for concept in result.concepts]
    writer.writerows(_without_version(result, result.concepts, encoders))
    if result.second is not None:
        writer.writerows(_second(result, result.second))
    return stream.getvalue()


def _second(result: EvaluationResult, second: SecondOpinion) -> Iterator[Line]:
    by_name = {concept.name: concept for concept in result.concepts}
    concepts = [by_name[name] for name in second.concepts]
    for i, version in enumerate(result.versions):
        for j, concept in enumerate(concepts):
            cell = [matrix[i][j] for matrix in (second.scores, second.standard_errors, second.self_retention)]
            yield [
                version.version,
                version.concept or "",
                *_about(concept, second.encoder),
                *map(_number, [*cell, None, version.base_drift]),
            ]
    yield from _without_version(second, concepts, [second.encoder] * len(concepts))


def _without_version(
    result: EvaluationResult | SecondOpinion, concepts: Sequence[EvaluatedConcept], encoders: Sequence[str]
) -> Iterator[Line]:
    rows = {ISOLATED: result.isolated or (), REAL: result.real, REAL_THROUGH_VAE: result.real_through_vae}
    for name, scores in rows.items():
        for concept, encoder, score in zip(concepts, encoders, scores, strict=False):
            yield [name, "", *_about(concept, encoder), _number(score), "", "", "", ""]


def _matrices(result: EvaluationResult) -> tuple[Matrix, ...]:
    return result.scores, result.standard_errors, result.self_retention, result.prompt_alignment


def _about(concept: EvaluatedConcept, encoder: str) -> tuple[str, str, int, str]:
    return concept.name, concept.kind.value, concept.learned_in, encoder


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)
