"""Stage `judge-search`: which blocks' features tell the tuning names apart best, and at which shrinkage.

Nothing else of the split is looked at; the whitening is that of pretraining pictures, as it is in what is shipped.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import torch
from torch import Tensor

from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.encoder_export import draw
from recipes.icons_64.encoder_report import Share, equal, same_label_nearest
from recipes.icons_64.judge import WithinNames
from recipes.icons_64.judge_network import converted, published_weights
from recipes.icons_64.split import load_split
from worker.evaluation.encoders.lite0 import Whitening, block_means, prepared
from worker.evaluation.encoders.lite0_net import BLOCK_WIDTHS

# The last block of each stage.
_ENDS = tuple(
    block
    for block, width in enumerate(BLOCK_WIDTHS)
    if block + 1 == len(BLOCK_WIDTHS) or BLOCK_WIDTHS[block + 1] != width
)
_AT_ONCE = 3
_SHRINKAGES = (0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
_DRAWINGS = 2
_SHOWN = 12


@dataclass(frozen=True)
class Tried:
    """A choice, and how often a tuning name's picture is nearest to another of its name."""

    blocks: tuple[int, ...]
    shrinkage: float
    elsewhere: Share
    another_set: Share

    def row(self) -> str:
        blocks = ", ".join(str(block + 1) for block in self.blocks)
        return f"| {blocks} | {self.shrinkage:g} | {self.another_set} | {self.elsewhere} |"


@dataclass(frozen=True)
class _Tuning:
    """The tuning names' pictures, and the features of some drawings of them all; row i shows `pictures[i]`."""

    pictures: Sequence[Picture]
    drawings: Sequence[Tensor]

    def tried(self, whitening: Whitening, shrinkage: float) -> Tried:
        names, sets = [p.name for p in self.pictures], [p.set_name for p in self.pictures]
        points = [whitening(means) for means in self.drawings]
        pairs = [(a, b) for a, b in product(points, points) if a is not b]
        nothing, own_set = torch.zeros(len(names), len(names), dtype=torch.bool), equal(sets)
        elsewhere = [same_label_nearest(a, b, names, nothing) for a, b in pairs]
        another_set = [same_label_nearest(a, b, names, own_set) for a, b in pairs]
        return Tried(whitening.blocks, shrinkage, Share.of_all(elsewhere), Share.of_all(another_set))


def search(work_dir: Path) -> str:
    """The best choices as a table, the best first: by other sets, then by other backgrounds."""
    ranked = sorted(_all(work_dir), key=lambda one: (one.another_set.right, one.elsewhere.right), reverse=True)
    head = "| after blocks (of 16) | shrinkage | the nearest of another set has the name | the nearest elsewhere has |"
    return "\n".join([head, "| --- | --- | --- | --- |", *(one.row() for one in ranked[:_SHOWN])])


def _all(work_dir: Path) -> Iterator[Tried]:
    pictures, net = Pictures.load(work_dir), prepared(converted(published_weights()))
    chosen = [picture for picture in pictures.of_held_out_names if picture.name in load_split().tuning]
    drawings = [block_means(net, draw(pictures, chosen, random.Random(f"tuning {n}"))) for n in range(_DRAWINGS)]
    tuning = _Tuning(chosen, drawings)
    known = pictures.for_pretraining
    means = block_means(net, draw(pictures, known, random.Random(0)))
    within = WithinNames.of(means, [picture.name for picture in known])
    for blocks, shrinkage in product(combinations(_ENDS, _AT_ONCE), _SHRINKAGES):
        yield tuning.tried(within.whitening(blocks, shrinkage), shrinkage)
