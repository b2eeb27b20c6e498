"""Two concepts in one picture: does the left half show the first, and the right half the second?

What users want of many concepts in one model, and what adapters that are kept apart cannot promise.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.domain.evaluations import CompositionScore
from worker.evaluation.drawing import Studio
from worker.evaluation.evaluation_task import EvaluationTask
from worker.evaluation.judging import Judge
from worker.evaluation.metrics import FloatArray
from worker.evaluation.protocol import Shot
from worker.models.base import Sampling

Pair = tuple[int, int]
"""Two columns: the concept on the left, and the one on the right."""


def shots(task: EvaluationTask, pair: Pair) -> tuple[Shot, ...]:
    """The pictures of a pair, from the same noises as those of the cells."""
    protocol, asked = task.protocol, task.protocol.composition
    assert asked is not None
    left, right = pair
    sampling = Sampling(
        prompt=asked.prompt(task.columns[left].taught, task.columns[right].taught),
        negative_prompt=None,
        steps=protocol.steps,
        guidance_scale=protocol.guidance_scale,
        width=asked.width,
        height=asked.height,
    )
    return tuple(Shot(sampling, protocol.seed + sample) for sample in range(protocol.samples_per_prompt))


def scores(studio: Studio, judge: Judge, task: EvaluationTask) -> tuple[CompositionScore, ...]:
    """What the last version draws of each pair."""
    found = []
    for pair in task.pairs():
        pictures = studio.pictures(task.rows[-1].subject, shots(task, pair))
        studio.hooks.work()
        both = both_right(judge, pictures, pair)
        first, second = (task.columns[side].taught.name for side in pair)
        found.append(CompositionScore(first=first, second=second, both=float(both.mean()), pictures=len(pictures)))
    return tuple(found)


def both_right(judge: Judge, pictures: Sequence[Image.Image], pair: Pair) -> FloatArray:
    """P; 1 where each half is nearest to its own concept of all that the judge knows, in the order asked, else 0."""
    left = _nearest(judge, [_half(picture, 0) for picture in pictures], pair[0])
    right = _nearest(judge, [_half(picture, 1) for picture in pictures], pair[1])
    both: FloatArray = ((left == pair[0]) & (right == pair[1])).astype(np.float64)
    return both


def _nearest(judge: Judge, halves: Sequence[Image.Image], made_for: int) -> NDArray[np.intp]:
    nearest: NDArray[np.intp] = np.nanargmax(judge.similarities(halves, made_for), axis=1)
    return nearest


def _half(picture: Image.Image, side: int) -> Image.Image:
    middle = picture.width // 2
    return picture.crop((side * middle, 0, (side + 1) * middle, picture.height))
