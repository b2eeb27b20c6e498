"""The whole evaluation of a line of versions: draw, judge, sum up."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from app.domain.concepts import ConceptKind
from app.domain.evaluations import EvaluationResult
from worker.evaluation import composition, metrics
from worker.evaluation.drawing import Studio
from worker.evaluation.drift import DriftMeter
from worker.evaluation.encoders.base import Encoder
from worker.evaluation.evaluation_task import EvaluationHooks, EvaluationTask, Subject
from worker.evaluation.judging import Judge, keeps_to_prompt
from worker.evaluation.metrics import FloatArray
from worker.evaluation.opinions import Ceilings, Second, SecondFindings, copied
from worker.evaluation.protocol import shots
from worker.evaluation.summary import Findings, summarize
from worker.models.base import Base

_TILE_PICTURES = 4


@dataclass(frozen=True)
class Evaluated:
    """The result, and some pictures of each cell for the contact sheet, by row and column; row -1 is R*."""

    result: EvaluationResult
    tiles: Mapping[tuple[int, int], tuple[Image.Image, ...]]


@dataclass(frozen=True)
class _Jury:
    first: Judge
    second: Second | None


@dataclass(frozen=True)
class _Cell:
    similarities: FloatArray
    second: FloatArray | None
    alignment: FloatArray
    tile: tuple[Image.Image, ...]


def evaluate(
    base: Base,
    task: EvaluationTask,
    encoders: Mapping[ConceptKind, Encoder],
    hooks: EvaluationHooks,
    second_encoder: Encoder | None = None,
) -> Evaluated:
    """Score every version of the line on every concept that it has learned; `encoders` by the kind of concept.

    A second encoder looks at the same pictures of objects.

    The line has at least one concept. The base is untouched afterwards, whatever happens.
    """
    started_at = time.monotonic()
    studio = Studio(base, hooks)
    jury = _Jury(Judge.of(task.columns, encoders), Second.of(task.columns, second_encoder))
    judge = jury.first
    cells = {
        (i, j): _cell(studio, jury, task, row.subject, j)
        for i, row in enumerate(task.rows)
        for j in range(len(task.columns))
        if task.is_defined(i, j)
    }
    alone = {
        (-1, j): _cell(studio, jury, task, column.isolated, j)
        for j, column in enumerate(task.columns)
        if column.isolated is not None
    }
    last = len(task.rows) - 1
    drift = DriftMeter(base, task.neutral_prompts, task.resolution, task.protocol.seed, hooks)
    copies = copied(base, task)
    findings = Findings(
        ceilings=Ceilings.of(judge, copies),
        second=_second(task, jury.second, copies, cells, alone),
        scores=_by_cell(task, {place: cell.similarities[:, place[1]] for place, cell in cells.items()}),
        isolated=_by_concept(task, {j: cell.similarities[:, j] for (_, j), cell in alone.items()}),
        alignment=_by_cell(task, {place: cell.alignment for place, cell in cells.items()}),
        drifts=tuple(drift.of(row.subject) for row in task.rows),
        confusion=_confusion([cells[last, j].similarities for j in range(len(task.columns))]),
        compositions=composition.scores(studio, judge, task),
        encoder_names=tuple(encoder.name for encoder in judge.encoders),
        pictures_drawn=studio.drawn,
        pictures_reused=studio.reused,
        seconds=round(time.monotonic() - started_at, 3),
    )
    return Evaluated(summarize(task, findings), {place: cell.tile for place, cell in {**cells, **alone}.items()})


def _cell(studio: Studio, jury: "_Jury", task: EvaluationTask, subject: Subject, j: int) -> _Cell:
    wanted = shots(task.protocol, task.columns[j].taught, task.resolution)
    pictures = studio.pictures(subject, wanted)
    studio.hooks.work()
    return _Cell(
        similarities=jury.first.similarities(pictures, j),
        second=None if jury.second is None else jury.second.scores(pictures, j),
        alignment=keeps_to_prompt(task.protocol.alignment, pictures, [shot.sampling.prompt for shot in wanted]),
        tile=tuple(pictures[:: task.protocol.samples_per_prompt][:_TILE_PICTURES]),
    )


def _second(
    task: EvaluationTask,
    second: Second | None,
    copies: Sequence[Sequence[Image.Image]],
    cells: Mapping[tuple[int, int], _Cell],
    alone: Mapping[tuple[int, int], _Cell],
) -> SecondFindings | None:
    if second is None:
        return None
    scores = _by_cell(task, {place: cell.second for place, cell in cells.items() if cell.second is not None})
    isolated = _by_concept(task, {j: cell.second for (_, j), cell in alone.items() if cell.second is not None})
    places = list(second.places)
    return SecondFindings(
        encoder_name=second.encoder.name,
        places=second.places,
        scores=scores[:, places],
        isolated=None if isolated is None else isolated[places],
        ceilings=second.ceilings(copies),
    )


def _by_cell(task: EvaluationTask, values: Mapping[tuple[int, int], FloatArray]) -> FloatArray:
    """(N + 1) x T x P, NaN where there is no cell."""
    pictures = max(len(cell) for cell in values.values())
    grid = np.full((len(task.rows), len(task.columns), pictures), np.nan)
    for (i, j), cell in values.items():
        grid[i, j, : len(cell)] = cell
    return grid


def _by_concept(task: EvaluationTask, values: Mapping[int, FloatArray]) -> FloatArray | None:
    if not values:
        return None
    grid = np.full((len(task.columns), max(len(cell) for cell in values.values())), np.nan)
    for j, cell in values.items():
        grid[j, : len(cell)] = cell
    return grid


def _confusion(similarities: Sequence[FloatArray]) -> FloatArray:
    made_for = [j for j, own in enumerate(similarities) for _ in own]
    return metrics.confusion(np.concatenate(list(similarities)), made_for)
