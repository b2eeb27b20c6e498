"""Streams: concepts taught one after another under one arm, and what every version on the way still draws of each.

Runs on one stream are paired: the same concepts in the same order, the same images, noises and timesteps of training,
and the same prompts and noises of every picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from app.domain.base import Value
from app.domain.strategies import Fold, StrategyOptions
from app.domain.training import TrainingOptions
from benchmarks.experiments.arms import Arm, Learned, learn
from benchmarks.experiments.concepts import Concept, Part, draw_objects
from benchmarks.experiments.laboratory import Laboratory, Setting
from benchmarks.experiments.results import Results
from benchmarks.experiments.scoring import Scores, score
from worker.adapters.accumulated import Update
from worker.evaluation.metrics import Line
from worker.pretraining.data import Pictures
from worker.strategies.replay import replay

Row = tuple[Scores, ...]


@dataclass(frozen=True)
class Stream:
    """Concepts in the order in which they are taught. `seed` drew them, and every training on them starts from it."""

    concepts: tuple[Concept, ...]
    seed: int

    def under(self, strategy: StrategyOptions, training: TrainingOptions) -> "StreamTrial":
        """The trial that teaches it so."""
        seeded = training.model_copy(update={"seed": self.seed})
        return StreamTrial(self, Arm(strategy=strategy, training=seeded))


def stream_of_objects(pictures: Pictures, part: Part, length: int, seed: int) -> Stream:
    """Each seed draws objects of its own, and their order.

    Raises:
        ValueError: the part has fewer.
    """
    return Stream(tuple(draw_objects(pictures, part, length, seed)), seed)


@dataclass(frozen=True)
class StreamTrial:
    """A run to do. `arm` None: draw the stream's concepts by the base itself."""

    stream: Stream
    arm: Arm | None

    def key(self, setting: Setting) -> str:
        return _key(setting, tuple(concept.name for concept in self.stream.concepts), self.stream.seed, self.arm)


class StreamRun(Value):
    """A trial that was done.

    `rows` are R's, by picture: in row i, the version that learned concept i on the concepts up to i; of the base, one
    row on all concepts. `seconds` are those of each training, by the wall, on so many threads.
    """

    setting: Setting
    concepts: tuple[str, ...]
    seed: int
    arm: Arm | None
    rows: tuple[Row, ...]
    final_losses: tuple[float, ...]
    seconds: tuple[float, ...]
    threads: int

    @property
    def key(self) -> str:
        return _key(self.setting, self.concepts, self.seed, self.arm)


def _key(setting: Setting, concepts: tuple[str, ...], seed: int, arm: Arm | None) -> str:
    return setting.key(*concepts, str(seed), "base" if arm is None else arm.model_dump_json())


def stream_runs_in(path: Path) -> Results[StreamRun]:
    """The runs that a file keeps."""
    return Results(path, StreamRun, lambda run: run.key)


def perform_stream(laboratory: Laboratory, trial: StreamTrial) -> StreamRun:
    """Teach, and draw and score after each concept; the laboratory's base is the same afterwards."""
    easel = _Easel(laboratory, trial.stream)
    learned, rows = [], []
    if trial.arm is None:
        rows.append(easel.row({}, range(len(trial.stream.concepts))))
    else:
        for lesson, row in _taught(easel, trial.arm):
            learned.append(lesson)
            rows.append(row)
    return StreamRun(
        setting=laboratory.setting,
        concepts=tuple(concept.name for concept in trial.stream.concepts),
        seed=trial.stream.seed,
        arm=trial.arm,
        rows=tuple(rows),
        final_losses=tuple(lesson.final_loss for lesson in learned),
        seconds=tuple(round(lesson.seconds, 2) for lesson in learned),
        threads=torch.get_num_threads(),
    )


@dataclass(frozen=True)
class _Easel:
    """Draws and scores a stream's concepts, each under the token of its place."""

    laboratory: Laboratory
    stream: Stream

    def token(self, place: int) -> str:
        return self.laboratory.manifest.rare_tokens[place]

    def row(self, update: Update, places: range) -> Row:
        """What the version that `update` makes of the base draws of the concepts at these places."""
        return tuple(self._cell(update, place) for place in places)

    def _cell(self, update: Update, place: int) -> Scores:
        concept = self.stream.concepts[place]
        asked = concept.asked(self.token(place), self.laboratory.sizes.pictures)
        return score(self.laboratory.encoders, concept, asked, self.laboratory.draw(update, asked))


def _taught(easel: _Easel, arm: Arm) -> Iterator[tuple[Learned, Row]]:
    """What each lesson made, with the row of its version."""
    base, manifest = easel.laboratory.base, easel.laboratory.manifest
    lessons: list[Learned] = []
    row: Row = ()
    for place, concept in enumerate(easel.stream.concepts):
        chain = tuple(lesson.link for lesson in lessons)
        lessons.append(learn(base, manifest, concept, easel.token(place), arm, chain))
        if arm.strategy.fold is Fold.CHOOSE:
            # A prompt names one concept, and meets its adapter alone: the earlier pictures are those of before.
            row += easel.row(replay((lessons[-1].link,)).update, range(place, place + 1))
        else:
            row = easel.row(replay([lesson.link for lesson in lessons]).update, range(place + 1))
        yield lessons[-1], row


def line_of(run: StreamRun, base: StreamRun) -> Line:
    """R of the run, above the base's row on the same stream: what the metrics are computed from."""
    count, pictures = len(run.concepts), run.setting.sizes.pictures
    scores = np.full((count + 1, count, pictures), np.nan)
    for i, row in enumerate((*base.rows, *run.rows)):
        for j, cell in enumerate(row):
            scores[i, j] = cell.identity
    return Line.of_pictures(scores, range(1, count + 1))
