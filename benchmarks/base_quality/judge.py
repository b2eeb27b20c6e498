"""Verdicts on single pictures: whether each shows the name, the set and the background that were asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from benchmarks.base_quality.asks import Ask
from worker.evaluation.colours import nearest_background
from worker.evaluation.encoders import lite0
from worker.evaluation.encoders.base import Encoder
from worker.evaluation.encoders.encoder_registry import load_encoder
from worker.evaluation.encoders.icons import FOLDER as ICONS
from worker.evaluation.encoders.icons import Head
from worker.evaluation.encoders.prototypes import Prototypes, load_prototypes

_FEW = 5


@dataclass(frozen=True)
class Verdict:
    """`top_1`, `top_5`: the name asked for is the nearest, or among the five nearest, of all pretrained names."""

    top_1: bool
    top_5: bool


@dataclass(frozen=True)
class NameJudge:
    """An encoder, and what the pretrained names look like to it."""

    encoder: Encoder
    names: Prototypes

    def verdicts(self, images: Sequence[Image.Image], asks: Sequence[Ask]) -> list[Verdict]:
        """One per picture, in order."""
        found = self.names.nearest(self.encoder.embed(images), _FEW)
        return [Verdict(ask.name == near[0], ask.name in near) for ask, near in zip(asks, found, strict=True)]


@dataclass(frozen=True)
class SetJudge:
    """An encoder, and what the sets that it was trained on look like to it."""

    encoder: Encoder
    sets: Prototypes

    def knows(self, asks: Sequence[Ask]) -> bool:
        """Whether it was trained on every set that was asked for."""
        return {ask.set_name for ask in asks} <= set(self.sets.labels)

    def right(self, images: Sequence[Image.Image], asks: Sequence[Ask]) -> list[bool]:
        """Whether the set asked for is the nearest of them, picture by picture."""
        found = self.sets.nearest(self.encoder.embed(images))
        return [ask.set_name == nearest for ask, (nearest,) in zip(asks, found, strict=True)]


@dataclass(frozen=True)
class Judges:
    """Of names: the one that nobody here trained first, then ours. Of sets: ours."""

    names: tuple[NameJudge, ...]
    sets: SetJudge

    @classmethod
    def load(cls) -> "Judges":
        """The embedded encoders with their prototypes, which need no icons."""
        of_names = {lite0.NAME: lite0.FOLDER, "icons-64-what": ICONS}
        return cls(
            tuple(
                NameJudge(load_encoder(name), load_prototypes(Head.WHAT, folder)) for name, folder in of_names.items()
            ),
            SetJudge(load_encoder("icons-64-how"), load_prototypes(Head.HOW)),
        )

    @property
    def encoders(self) -> list[Encoder]:
        return [*(judge.encoder for judge in self.names), self.sets.encoder]


def backgrounds_right(images: Sequence[Image.Image], asks: Sequence[Ask]) -> list[bool]:
    """Whether the corners have the colour that was asked for, picture by picture."""
    return [nearest_background(np.asarray(image)) == ask.background for image, ask in zip(images, asks, strict=True)]
