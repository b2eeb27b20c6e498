"""Streams: concepts taught one after another under one arm, and what every version on the way still draws of each.

Runs on one stream are paired: the same concepts in the same order, the same images, noises and timesteps of training,
and the same prompts and noises of every picture.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch

from app.domain.base import Value
from app.domain.strategies import Fold, StrategyOptions
from app.domain.training import TrainingOptions
from benchmarks.base_quality.vae import round_trip
from benchmarks.experiments.arms import Arm, Itself, Learned, Taught, Together, learn, learn_together
from benchmarks.experiments.concepts import Concept, Part, draw_objects, draw_redrawn_styles, draw_styles
from benchmarks.experiments.first_lessons import shared
from benchmarks.experiments.laboratory import Laboratory, Setting
from benchmarks.experiments.results import Results
from benchmarks.experiments.scoring import Judged, Scores, score
from recipes.icons_64.data import Pictures
from worker.adapters.accumulated import ChainLink, Update
from worker.evaluation.metrics import FloatArray, Line
from worker.strategies.replay import replay

Row = tuple[Scores | None, ...]
"""None: a cell that was not drawn."""


class Cells(StrEnum):
    """Which cells of R are drawn: all, or each concept when it is learned and in the end, as most metrics want."""

    ALL = "all"
    ENDS = "ends"


@dataclass(frozen=True)
class Stream:
    """Concepts in the order in which they are taught. `seed` drew them, and every training on them starts from it."""

    concepts: tuple[Concept, ...]
    seed: int

    def under(self, strategy: StrategyOptions, training: TrainingOptions) -> "StreamTrial":
        """The trial that teaches it so."""
        seeded = training.model_copy(update={"seed": self.seed})
        return StreamTrial(self, Arm(strategy=strategy, training=seeded))


class Kind(StrEnum):
    """What a stream is made of: held-out objects, held-out sets as styles, or pretrained sets redrawn by a filter."""

    OBJECT = "object"
    STYLE = "style"
    REDRAWN_STYLE = "redrawn-style"


def stream_of(kind: Kind, pictures: Pictures, part: Part, length: int, seed: int) -> Stream:
    """Each seed draws concepts and their order. There are few held-out sets: of those always the same are met.

    Raises:
        ValueError: the part has fewer.
    """
    draw = {Kind.OBJECT: draw_objects, Kind.STYLE: draw_styles, Kind.REDRAWN_STYLE: draw_redrawn_styles}[kind]
    return Stream(tuple(draw(pictures, part, length, seed)), seed)


@dataclass(frozen=True)
class StreamTrial:
    """A run to do. `arm` None: draw the stream's concepts by the base itself."""

    stream: Stream
    arm: Taught
    cells: Cells = Cells.ALL

    def key(self, setting: Setting) -> str:
        concepts = tuple(concept.name for concept in self.stream.concepts)
        return _key(setting, concepts, self.stream.seed, self.arm, self.cells)


class StreamRun(Value):
    """A trial that was done.

    `rows` are R's, by picture: in row i, the version that learned concept i on the concepts up to i; of the base, of
    all concepts learned together, and of the concepts' own icons, one row on all of them. `seconds` are those of each
    training, by the wall, on so many threads; `version_bytes` the size of what each version keeps.
    """

    setting: Setting
    concepts: tuple[str, ...]
    seed: int
    arm: Taught
    rows: tuple[Row, ...]
    final_losses: tuple[float, ...]
    seconds: tuple[float, ...]
    threads: int
    cells: Cells = Cells.ALL
    version_bytes: tuple[int, ...] = ()

    @property
    def has_two_judges(self) -> bool:
        """Whether every cell was scored by both."""
        return all(cell.second for row in self.rows for cell in row if cell is not None)

    @property
    def key(self) -> str:
        return _key(self.setting, self.concepts, self.seed, self.arm, self.cells)


def _key(setting: Setting, concepts: tuple[str, ...], seed: int, arm: Taught, cells: Cells = Cells.ALL) -> str:
    taught = "base" if arm is None else arm.model_dump_json()
    return setting.key(*concepts, str(seed), taught, *([] if cells is Cells.ALL else [cells]))


def stream_runs_in(path: Path) -> Results[StreamRun]:
    """The runs that a file keeps."""
    return Results(path, StreamRun, lambda run: run.key)


def perform_stream(laboratory: Laboratory, trial: StreamTrial) -> StreamRun:
    """Teach, and draw and score after each concept; the laboratory's base is the same afterwards."""
    easel = _Easel(laboratory, trial.stream, trial.cells)
    made = list(_made(easel, trial.arm))
    learned = [lesson for lesson, _ in made if lesson is not None]
    return StreamRun(
        setting=laboratory.setting,
        concepts=tuple(concept.name for concept in trial.stream.concepts),
        seed=trial.stream.seed,
        arm=trial.arm,
        rows=tuple(row for _, row in made),
        final_losses=tuple(lesson.final_loss for lesson in learned),
        seconds=tuple(round(lesson.seconds, 2) for lesson in learned),
        threads=torch.get_num_threads(),
        cells=trial.cells,
        version_bytes=tuple(lesson.size for lesson in learned),
    )


@dataclass(frozen=True)
class _Easel:
    """Draws and scores a stream's concepts, each under the token of its place."""

    laboratory: Laboratory
    stream: Stream
    cells: Cells

    def token(self, place: int) -> str:
        return self.laboratory.manifest.rare_tokens[place]

    def whole_row(self, update: Update) -> Row:
        """What the version that `update` makes of the base draws of all concepts."""
        return tuple(self.cell(update, place) for place in range(len(self.stream.concepts)))

    def real_row(self, *, through_vae: bool) -> Row:
        """The concepts' own icons in the place of pictures of them."""
        return tuple(self._real_cell(place, through_vae=through_vae) for place in range(len(self.stream.concepts)))

    def _real_cell(self, place: int, *, through_vae: bool) -> Scores:
        concept = self.stream.concepts[place]
        asked = concept.asked(self.token(place), self.laboratory.sizes.pictures)
        icons = concept.itself(asked)
        shown = round_trip(self.laboratory.base, icons) if through_vae else icons
        return score(self.laboratory.encoders, concept, asked, shown)

    def row(self, update: Update, place: int) -> Row:
        """What the version that has just learned the concept at `place` draws of those up to it."""
        every = self.cells is Cells.ALL or place == len(self.stream.concepts) - 1
        return tuple(self.cell(update, earlier) if every or earlier == place else None for earlier in range(place + 1))

    def cell(self, update: Update, place: int) -> Scores:
        concept = self.stream.concepts[place]
        asked = concept.asked(self.token(place), self.laboratory.sizes.pictures)
        return score(self.laboratory.encoders, concept, asked, self.laboratory.draw(update, asked))


def _made(easel: _Easel, arm: Taught) -> Iterator[tuple[Learned | None, Row]]:
    """Each row, with the lesson that it comes of: of the base, none."""
    if arm is None:
        yield None, easel.whole_row({})
    elif isinstance(arm, Itself):
        yield None, easel.real_row(through_vae=arm.through_vae)
    elif isinstance(arm, Together):
        tokens = [easel.token(place) for place in range(len(easel.stream.concepts))]
        lesson = learn_together(easel.laboratory.base, easel.laboratory.manifest, easel.stream.concepts, tokens, arm)
        yield lesson, easel.whole_row(replay((lesson.link,)).update)
    else:
        yield from _taught(easel, arm)


def _taught(easel: _Easel, arm: Arm) -> Iterator[tuple[Learned, Row]]:
    """What each lesson made, with the row of its version."""
    place = f"{easel.laboratory.setting.key()} {easel.stream.concepts[0].name} {easel.stream.seed}"
    lesson, cell = shared(place, arm, _first(easel, arm))
    lessons = [lesson]
    row: Row = (cell,)
    yield lesson, row
    for number in range(1, len(easel.stream.concepts)):
        lessons.append(_lesson(easel, arm, number, tuple(lesson.link for lesson in lessons)))
        if arm.strategy.fold is Fold.CHOOSE:
            # A prompt names one concept, and meets its adapter alone: the earlier pictures are those of before.
            row = (*row, easel.cell(replay((lessons[-1].link,)).update, number))
        else:
            row = easel.row(replay([lesson.link for lesson in lessons]).update, number)
        yield lessons[-1], row


def _first(easel: _Easel, arm: Arm) -> Callable[[], tuple[Learned, Scores]]:
    def learned() -> tuple[Learned, Scores]:
        lesson = _lesson(easel, arm, 0, ())
        return lesson, easel.cell(replay((lesson.link,)).update, 0)

    return learned


def _lesson(easel: _Easel, arm: Arm, place: int, chain: tuple[ChainLink, ...]) -> Learned:
    base, manifest = easel.laboratory.base, easel.laboratory.manifest
    return learn(base, manifest, easel.stream.concepts[place], easel.token(place), arm, chain)


def line_of(run: StreamRun, base: StreamRun, isolated: StreamRun | None = None, judge: Judged = Judged.FIRST) -> Line:
    """R of the run by that judge, above the base's row on the same stream: what the metrics are computed from.

    The last row of `isolated`, on the same stream too, is R*.
    """
    count = len(run.concepts)
    scores = np.stack([_pictures(row, base, judge) for row in (*base.rows, *run.rows)])
    alone = None if isolated is None else _pictures(isolated.rows[-1], base, judge)
    # What was learned together was learned in the only row there is.
    return Line.of_pictures(scores, [min(place, len(run.rows)) for place in range(1, count + 1)], alone)


def _pictures(row: Row, base: StreamRun, judge: Judged) -> FloatArray:
    """T x P; NaN where no picture was drawn."""
    scores = np.full((len(base.concepts), base.setting.sizes.pictures), np.nan)
    for place, cell in enumerate(row):
        if cell is not None:
            scores[place] = cell.by(judge)
    return scores
