"""Stage `encoder-report`: how well the shipped encoders tell real pictures apart, most of all names they never saw.

Each figure stands beside that of the same queries once through the base's autoencoder. All pictures are placed as the
generator's training places them; queries and gallery have other places and backgrounds.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.encoder_export import draw
from recipes.icons_64.split import load_split
from recipes.icons_64.vae import to_tensor
from worker.evaluation.encoders import lite0
from worker.evaluation.encoders.base import Encoder
from worker.evaluation.encoders.encoder_registry import load_encoder
from worker.evaluation.encoders.icons import FOLDER as ICONS
from worker.evaluation.encoders.icons import Head
from worker.evaluation.encoders.prototypes import Prototypes, load_prototypes

_Z = 1.96
_SAMPLED = 1_000
_FEW = 5
_BATCH = 64


@dataclass(frozen=True)
class Share:
    """How many of how many were right, with Wilson's 95% interval (Wilson 1927)."""

    right: int
    of: int

    @classmethod
    def of_all(cls, shares: Sequence["Share"]) -> "Share":
        """The shares as one; its interval is too narrow where the same pictures were asked again."""
        return cls(sum(share.right for share in shares), sum(share.of for share in shares))

    @property
    def interval(self) -> tuple[float, float]:
        share = self.right / self.of
        middle = share + _Z**2 / (2 * self.of)
        reach = _Z * sqrt(share * (1 - share) / self.of + (_Z / (2 * self.of)) ** 2)
        return (middle - reach) / (1 + _Z**2 / self.of), (middle + reach) / (1 + _Z**2 / self.of)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.right / self.of:.1%} ({low:.1%} to {high:.1%}; {self.right} of {self.of})"


def same_label_nearest(queries: Tensor, gallery: Tensor, labels: Sequence[str], excluded: Tensor) -> Share:
    """How many queries have their own label nearest in the gallery; row i of both has `labels[i]`.

    `excluded`: (n, n), the pairs that are not compared. A query none of whose allowed pairs has its label is not asked.
    """
    index = torch.tensor([sorted(set(labels)).index(label) for label in labels])
    alike = index.unsqueeze(1) == index.unsqueeze(0)
    asked = (alike & ~excluded).any(1)
    nearest = (queries @ gallery.T).masked_fill(excluded, -torch.inf).argmax(1)
    return Share(int((index[nearest] == index)[asked].sum()), int(asked.sum()))


def equal(labels: Sequence[str]) -> Tensor:
    """(n, n): where two labels are the same."""
    return torch.tensor([[a == b for b in labels] for a in labels])


@dataclass(frozen=True)
class _Drawn:
    """Two drawings of the same pictures, embedded by one encoder; `images`: those of the queries."""

    encoder: Encoder
    images: Sequence[Image.Image]
    pictures: Sequence[Picture]
    queries: Tensor
    gallery: Tensor

    @property
    def names(self) -> list[str]:
        return [picture.name for picture in self.pictures]

    @property
    def sets(self) -> list[str]:
        return [picture.set_name for picture in self.pictures]

    def same_name(self) -> Share:
        """The same picture elsewhere on another background counts: invariance to place and colour alone."""
        nothing = torch.zeros(len(self.pictures), len(self.pictures), dtype=torch.bool)
        return same_label_nearest(self.queries, self.gallery, self.names, nothing)

    def same_name_in_another_set(self) -> Share:
        """Pictures of the query's own set are left out of the gallery."""
        return same_label_nearest(self.queries, self.gallery, self.names, equal(self.sets))

    def same_set(self) -> Share:
        """Pictures of the query's own name are left out of the gallery."""
        return same_label_nearest(self.queries, self.gallery, self.sets, equal(self.names))


@dataclass(frozen=True)
class Line:
    """A row of the report. `through_vae`: the same, with queries that were once through the base's autoencoder."""

    encoder: str
    figure: str
    real: Share
    through_vae: Share

    def __str__(self) -> str:
        return f"| `{self.encoder}` | {self.figure} | {self.real} | {self.through_vae} |"


Figure = Callable[[_Drawn], Share]


@dataclass(frozen=True)
class Report:
    """The pictures, and what the generator's autoencoder makes of them."""

    pictures: Pictures
    vae: AutoencoderKL

    def lines(self) -> list[Line]:
        what = [line for name in (lite0.NAME, "icons-64-what") for line in self._of_what(name)]
        return [*what, *self._of_how("icons-64-how")]

    def _of_what(self, name: str) -> list[Line]:
        folder = lite0.FOLDER if name == lite0.NAME else ICONS
        known = load_prototypes(Head.WHAT, folder)
        among = f"{len(known.labels)} prototypes"
        return [
            *self._lines(name, "held-out names", self._unseen_names, _BY_NAME),
            *self._lines(name, "held-out names in held-out sets", self._unseen_both, _BY_NAME),
            *self._lines(
                name,
                "pretraining names",
                random.Random(0).sample(self.pictures.for_pretraining, _SAMPLED),
                {
                    f"the nearest of {among}": lambda drawn: _found(known, drawn.queries, drawn.names, 1),
                    f"among the {_FEW} nearest of {among}": lambda drawn: _found(
                        known, drawn.queries, drawn.names, _FEW
                    ),
                },
            ),
        ]

    def _of_how(self, name: str) -> list[Line]:
        known = load_prototypes(Head.HOW, ICONS)
        nearest: Figure = lambda drawn: _found(known, drawn.queries, drawn.sets, 1)  # noqa: E731
        trained_on = [p for p in self._unseen_names if p.set_name in known.labels]
        same_set = {"the nearest picture of another name is of the same set": _Drawn.same_set}
        return [
            *self._lines(
                name, "held-out names", trained_on, {f"the nearest of {len(known.labels)} sets' prototypes": nearest}
            ),
            *self._lines(name, "held-out names", self._unseen_names, same_set),
            *self._lines(name, "held-out names in held-out sets", self._unseen_both, same_set),
            *self._lines(name, "held-out names in all sets", [*self._unseen_names, *self._unseen_both], same_set),
        ]

    @property
    def _unseen_names(self) -> list[Picture]:
        return self.pictures.of_held_out_names

    @property
    def _unseen_both(self) -> list[Picture]:
        held_out = load_split().held_out_names
        return [picture for picture in self.pictures.of_held_out_sets if picture.name in held_out]

    def _lines(self, name: str, asked: str, chosen: Sequence[Picture], figures: Mapping[str, Figure]) -> list[Line]:
        if not chosen:
            return []
        drawn = self._drawn(name, chosen)
        softened = self._softened(drawn)
        return [Line(name, f"{asked}: {what}", figure(drawn), figure(softened)) for what, figure in figures.items()]

    def _drawn(self, name: str, chosen: Sequence[Picture]) -> _Drawn:
        encoder = load_encoder(name)
        asked, known = (draw(self.pictures, chosen, random.Random(part)) for part in ("queries", "gallery"))
        return _Drawn(encoder, asked, chosen, encoder.embed(asked), encoder.embed(known))

    def _softened(self, drawn: _Drawn) -> _Drawn:
        """The queries as the best of generated pictures are: encoded and decoded once."""
        images = [
            image
            for start in range(0, len(drawn.images), _BATCH)
            for image in self._decoded(drawn.images[start : start + _BATCH])
        ]
        return replace(drawn, images=images, queries=drawn.encoder.embed(images))

    @torch.no_grad()
    def _decoded(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        latents = self.vae.encode(to_tensor(np.stack([np.asarray(image) for image in images]))).latent_dist.mode()
        pixels = self.vae.decode(latents).sample.clamp(-1, 1).add(1).mul(127.5).round().byte()
        return [Image.fromarray(each) for each in pixels.permute(0, 2, 3, 1).numpy()]


_BY_NAME: Mapping[str, Figure] = {
    "the nearest picture has the same name": _Drawn.same_name,
    "the nearest of another set has the same name": _Drawn.same_name_in_another_set,
}


def _found(known: Prototypes, queries: Tensor, own: Sequence[str], count: int) -> Share:
    """How many have their own label among the `count` nearest; prototypes are of pretraining names and sets only."""
    nearest = known.nearest(queries, count)
    return Share(sum(label in labels for label, labels in zip(own, nearest, strict=True)), len(nearest))


def report(work_dir: Path, base: Path) -> str:
    """The shipped encoders' figures as a table; the autoencoder is that of the base in that folder."""
    vae = AutoencoderKL.from_pretrained(base / "vae", dtype=torch.float32)
    lines = Report(Pictures.load(work_dir), vae).lines()
    head = "| encoder | figure | real pictures | real, through the VAE |"
    return "\n".join([head, "| --- | --- | --- | --- |", *map(str, lines)])
