"""Verdicts on single pictures: whether each shows the name, the set and the background that were asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from benchmarks.base_quality.asks import Ask
from worker.evaluation.colours import nearest_background
from worker.evaluation.encoders.base import Encoder
from worker.evaluation.encoders.encoder_registry import load_encoder
from worker.evaluation.encoders.icons import Head
from worker.evaluation.encoders.prototypes import Prototypes, load_prototypes

_FEW = 5


@dataclass(frozen=True)
class Verdict:
    """`top_1`, `top_5`: the name asked for is the nearest, or among the five nearest, of all pretrained names."""

    background: bool
    set_right: bool
    top_1: bool
    top_5: bool


@dataclass(frozen=True)
class Judge:
    """The encoders, and what the pretrained names and sets look like to them."""

    what: Encoder
    how: Encoder
    names: Prototypes
    sets: Prototypes

    @classmethod
    def load(cls) -> "Judge":
        """The embedded encoders with their prototypes, which need no icons."""
        return cls(
            what=load_encoder("icons-64-what"),
            how=load_encoder("icons-64-how"),
            names=load_prototypes(Head.WHAT),
            sets=load_prototypes(Head.HOW),
        )

    def verdicts(self, images: Sequence[Image.Image], asks: Sequence[Ask]) -> list[Verdict]:
        """One per picture, in order."""
        names = self.names.nearest(self.what.embed(images), _FEW)
        sets = self.sets.nearest(self.how.embed(images))
        return [
            Verdict(
                background=nearest_background(np.asarray(image)) == ask.background,
                set_right=ask.set_name in of_set,
                top_1=ask.name == of_name[0],
                top_5=ask.name in of_name,
            )
            for image, ask, of_name, of_set in zip(images, asks, names, sets, strict=True)
        ]
