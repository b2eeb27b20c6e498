"""How different pictures of one group are: drawings of one prompt, or real pictures of one thing."""

import random
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

import numpy as np
from PIL import Image

from benchmarks.base_quality.asks import place
from benchmarks.statistics import Estimate, mean
from recipes.icons_64.data import Picture, Pictures
from worker.evaluation.colours import BACKGROUNDS
from worker.evaluation.encoders.base import Encoder

GROUPS = 24
GROUP_SIZE = 4
Group = Sequence[Image.Image]


def in_embeddings(encoder: Encoder, groups: Sequence[Group]) -> Estimate:
    """1 - the mean pairwise cosine within a group; the interval is over groups."""
    return mean([_spread_of_embeddings(encoder, group) for group in groups])


def in_pixels(groups: Sequence[Group]) -> Estimate:
    """The mean pairwise distance within a group: root mean square over pixels and channels, white to black is 1."""
    return mean([fmean(_distance(a, b) for a, b in combinations(group, 2)) for group in groups])


def placements(pictures: Pictures) -> list[list[Image.Image]]:
    """Groups of one icon that the base knows on one background, at several places and sizes."""
    generator = random.Random("placements")
    groups = []
    for picture in generator.sample(pictures.for_generator, GROUPS):
        colour = generator.choice(list(BACKGROUNDS))
        groups.append([place(pictures, picture, colour, generator) for _ in range(GROUP_SIZE)])
    return groups


def across_sets(pictures: Pictures) -> list[list[Image.Image]]:
    """Groups of one name that the base knows on one background, drawn by several sets."""
    generator = random.Random("across sets")
    by_name: dict[str, list[Picture]] = {}
    for picture in pictures.for_generator:
        by_name.setdefault(picture.name, []).append(picture)
    drawn_often = sorted(name for name, drawn in by_name.items() if len(drawn) >= GROUP_SIZE)
    groups = []
    for name in generator.sample(drawn_often, GROUPS):
        colour = generator.choice(list(BACKGROUNDS))
        chosen = generator.sample(by_name[name], GROUP_SIZE)
        groups.append([place(pictures, picture, colour, generator) for picture in chosen])
    return groups


def _spread_of_embeddings(encoder: Encoder, group: Group) -> float:
    embeddings = encoder.embed(group)
    pairs = combinations(range(len(group)), 2)
    return 1 - fmean(float(embeddings[a] @ embeddings[b]) for a, b in pairs)


def _distance(a: Image.Image, b: Image.Image) -> float:
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return float(np.sqrt(np.square(difference).mean())) / 255
