"""From the numbers of single pictures to the result that people and programs read."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.domain.evaluations import (
    CompositionScore,
    EvaluatedConcept,
    EvaluatedVersion,
    EvaluationMetrics,
    EvaluationResult,
    Matrix,
    Row,
    SecondOpinion,
)
from worker.evaluation import metrics
from worker.evaluation.evaluation_task import EvaluationTask
from worker.evaluation.metrics import FloatArray, Line
from worker.evaluation.opinions import Ceilings, SecondFindings


@dataclass(frozen=True)
class Findings:
    """What was measured on a line of N versions above the base, of T concepts, with up to P pictures a cell.

    scores, alignment: (N + 1) x T x P. isolated: T x P, if it was asked for. drifts: N + 1. confusion: T x T. NaN is
    undefined, and pads the cells of fewer pictures.
    """

    scores: FloatArray
    isolated: FloatArray | None
    alignment: FloatArray
    drifts: tuple[float, ...]
    confusion: FloatArray
    ceilings: Ceilings
    second: SecondFindings | None
    compositions: tuple[CompositionScore, ...]
    encoder_names: tuple[str, ...]
    pictures_drawn: int
    pictures_reused: int
    seconds: float


def summarize(task: EvaluationTask, found: Findings) -> EvaluationResult:
    """The result, with null for what is undefined."""
    line = Line.of_pictures(found.scores, [column.learned_at for column in task.columns], found.isolated)
    alignment = metrics.means(found.alignment)
    return EvaluationResult(
        versions=tuple(
            EvaluatedVersion(
                version=row.number,
                concept=None if row.taught is None else row.taught.name,
                base_drift=_number(drift),
            )
            for row, drift in zip(task.rows, found.drifts, strict=True)
        ),
        concepts=_concepts(task, found, line),
        scores=_matrix(line.scores),
        standard_errors=_matrix(metrics.standard_errors(found.scores)),
        isolated=None if found.isolated is None else _row(line.isolated),
        real=_row(found.ceilings.real),
        real_through_vae=_row(found.ceilings.through_vae),
        second=None if found.second is None else _second(task, found.second),
        self_retention=_matrix(metrics.self_retentions(line)),
        prompt_alignment=_matrix(alignment),
        confusion=_matrix(found.confusion),
        compositions=found.compositions,
        metrics=EvaluationMetrics(
            average_score=_number(metrics.average_score(line)),
            average_forgetting=_number(metrics.average_forgetting(line)),
            average_forgetting_paper=_number(metrics.average_forgetting_of_the_paper(line)),
            plasticity=_number(metrics.plasticity(line)),
            intransigence=_number(metrics.intransigence(line)),
            backward_transfer=_number(metrics.backward_transfer(line)),
            retention=_number(metrics.mean(metrics.retentions(line))),
            self_retention=_number(metrics.mean(metrics.self_retentions(line)[-1])),
            base_drift=_number(found.drifts[-1]),
            prompt_alignment=_number(metrics.mean(alignment[-1])),
            composition=_share([(pair.both, pair.pictures) for pair in found.compositions]),
        ),
        pictures_drawn=found.pictures_drawn,
        pictures_reused=found.pictures_reused,
        seconds=found.seconds,
    )


def _second(task: EvaluationTask, found: SecondFindings) -> SecondOpinion:
    columns = [task.columns[j] for j in found.places]
    line = Line.of_pictures(found.scores, [column.learned_at for column in columns], found.isolated)
    return SecondOpinion(
        encoder=found.encoder_name,
        concepts=tuple(column.taught.name for column in columns),
        scores=_matrix(line.scores),
        standard_errors=_matrix(metrics.standard_errors(found.scores)),
        isolated=None if found.isolated is None else _row(line.isolated),
        self_retention=_matrix(metrics.self_retentions(line)),
        real=_row(found.ceilings.real),
        real_through_vae=_row(found.ceilings.through_vae),
        average_score=_number(metrics.average_score(line)),
        average_forgetting=_number(metrics.average_forgetting(line)),
        retention=_number(metrics.mean(metrics.retentions(line))),
    )


def _concepts(task: EvaluationTask, found: Findings, line: Line) -> tuple[EvaluatedConcept, ...]:
    forgettings, retentions = metrics.forgettings(line), metrics.retentions(line)
    self_retentions = metrics.self_retentions(line)[-1]
    return tuple(
        EvaluatedConcept(
            name=column.taught.name,
            kind=column.taught.kind,
            class_noun=column.taught.class_noun,
            token=column.taught.token,
            learned_in=task.rows[column.learned_at].number,
            references=len(column.references),
            encoder=found.encoder_names[j],
            forgetting=_number(forgettings[j]),
            retention=_number(retentions[j]),
            self_retention=_number(self_retentions[j]),
        )
        for j, column in enumerate(task.columns)
    )


def _share(parts: Sequence[tuple[float, int]]) -> float | None:
    """Of all pictures together."""
    count = sum(pictures for _, pictures in parts)
    return sum(share * pictures for share, pictures in parts) / count if count else None


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _row(values: Iterable[float]) -> Row:
    return tuple(_number(value) for value in values)


def _matrix(values: FloatArray) -> Matrix:
    return tuple(_row(row) for row in values)
