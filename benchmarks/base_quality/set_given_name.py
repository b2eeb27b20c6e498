"""The main figure of style: given the name and the background, is a drawing nearest to the set that was asked for?

Plain pixels and no network, so nobody can have trained the judge. A drawing is compared with the real pictures of its
name by every pretraining set, placed as the generator's training places them, on the very background.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from benchmarks.base_quality.asks import Ask
from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.pictures import Placement, compose
from worker.evaluation.colours import BACKGROUNDS


def right(pictures: Pictures, images: Sequence[Image.Image], asks: Sequence[Ask]) -> list[bool]:
    """Whether the set asked for is the nearest of those that draw the name, by the squared error of the pixels.

    Raises:
        ValueError: the set asked for does not draw the name.
    """
    return [ask.set_name == _nearest(pictures, image, ask) for image, ask in zip(images, asks, strict=True)]


def reference(pictures: Pictures, ask: Ask) -> Image.Image:
    """The real picture of what is asked for, as the base was shown it, on the very colour.

    Raises:
        ValueError: the set does not draw the name.
    """
    by_set = _drawn_by(pictures, ask.name)
    if ask.set_name not in by_set:
        raise ValueError(f"{ask.set_name} has no picture of {ask.name!r}")
    middle = Placement.centred(random.Random(0), ask.background)
    exact = replace(middle, background=BACKGROUNDS[ask.background])
    return Image.fromarray(compose(pictures.rasters[by_set[ask.set_name].row], exact))


def draw_real(pictures: Pictures, count: int, seed: int) -> list[tuple[Ask, Image.Image]]:
    """Real pictures of what the base knows, placed as it was shown them, each on a shade of its own."""
    generator = random.Random(f"set given name {seed}")
    drawn = []
    for _ in range(count):
        picture = generator.choice(pictures.for_generator)
        ask = Ask(picture.set_name, picture.name, generator.choice(list(BACKGROUNDS)))
        pixels = compose(pictures.rasters[picture.row], Placement.centred(generator, ask.background))
        drawn.append((ask, Image.fromarray(pixels)))
    return drawn


def _nearest(pictures: Pictures, image: Image.Image, ask: Ask) -> str:
    own = reference(pictures, ask)
    others = {name: replace(ask, set_name=name) for name in _drawn_by(pictures, ask.name) if name != ask.set_name}
    distances = {name: _distance(image, reference(pictures, other)) for name, other in others.items()}
    return min({ask.set_name: _distance(image, own), **distances}.items(), key=lambda pair: pair[1])[0]


def _distance(a: Image.Image, b: Image.Image) -> float:
    return float(np.square(np.asarray(a.convert("RGB"), np.float64) - np.asarray(b, np.float64)).mean())


def _drawn_by(pictures: Pictures, name: str) -> dict[str, Picture]:
    """The pretraining sets that have the name."""
    return {picture.set_name: picture for picture in pictures.for_pretraining if picture.name == name}
