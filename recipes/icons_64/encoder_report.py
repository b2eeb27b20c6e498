"""Stage `encoder-report`: how well the shipped encoder tells real pictures apart, most of all names it never saw.

All pictures are placed as the generator's training places them; queries and gallery have other places and backgrounds.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.encoder_export import centroids, draw
from recipes.icons_64.split import load_split
from recipes.icons_64.vae import to_tensor
from worker.evaluation.encoders.base import Encoder
from worker.evaluation.encoders.icons import Head, load_icons
from worker.evaluation.encoders.prototypes import load_prototypes

_Z = 1.96
_SAMPLED = 1_000
_BATCH = 64


@dataclass(frozen=True)
class Share:
    """How many of how many were right, with Wilson's 95% interval (Wilson 1927)."""

    right: int
    of: int

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


@dataclass(frozen=True)
class _Drawn:
    """Two drawings of the same pictures, embedded by one head; `images`: those of the queries."""

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
        return same_label_nearest(self.queries, self.gallery, self.names, _equal(self.sets))

    def same_set(self) -> Share:
        """Pictures of the query's own name are left out of the gallery."""
        return same_label_nearest(self.queries, self.gallery, self.sets, _equal(self.names))


def _equal(labels: Sequence[str]) -> Tensor:
    return torch.tensor([[a == b for b in labels] for a in labels])


@dataclass(frozen=True)
class Report:
    """The pictures, the encoder in `folder` that looks at them, and what the generator's autoencoder makes of them."""

    pictures: Pictures
    folder: Path
    vae: AutoencoderKL

    def shares(self) -> dict[str, Share]:
        unseen_names = self.pictures.of_held_out_names
        held_out = load_split().held_out_names
        unseen_both = [p for p in self.pictures.of_held_out_sets if p.name in held_out]
        what, how = self._drawn(Head.WHAT, unseen_names), self._drawn(Head.HOW, unseen_names)
        strange_what, strange_how = self._drawn(Head.WHAT, unseen_both), self._drawn(Head.HOW, unseen_both)
        everywhere = self._drawn(Head.HOW, [*unseen_names, *unseen_both])
        return {
            "what, held-out names: same name nearest": what.same_name(),
            "what, held-out names: same name nearest, from another set": what.same_name_in_another_set(),
            "what, held-out names in held-out sets: same name nearest": strange_what.same_name(),
            "what, held-out names in held-out sets: from another set": strange_what.same_name_in_another_set(),
            "how, held-out names: same set nearest": how.same_set(),
            "how, held-out names: nearest prototype": self._nearest_prototype(how),
            "how, held-out names in held-out sets: same set nearest": strange_how.same_set(),
            "how, held-out names in held-out sets: nearest centroid": self._nearest_centroid(strange_how),
            "how, held-out names in all sets: same set nearest": everywhere.same_set(),
            "what, held-out names, through the base's autoencoder: same name nearest": self._softened(what).same_name(),
            "how, held-out names, through the base's autoencoder: nearest prototype": self._nearest_prototype(
                self._softened(how)
            ),
            **self._pretrained_names(),
        }

    def _drawn(self, head: Head, chosen: Sequence[Picture]) -> _Drawn:
        encoder = load_icons(head, torch.device("cpu"), self.folder)
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

    def _nearest_prototype(self, drawn: _Drawn) -> Share:
        """Prototypes are of pretraining names only."""
        found = load_prototypes(Head.HOW, self.folder).nearest(drawn.queries)
        return Share(sum(best == own for (best,), own in zip(found, drawn.sets, strict=True)), len(found))

    def _nearest_centroid(self, drawn: _Drawn) -> Share:
        """Centroids of the held-out sets, of pretraining names only."""
        held_out = load_split().held_out_names
        known = [p for p in self.pictures.of_held_out_sets if p.name not in held_out]
        known = random.Random(0).sample(known, _SAMPLED)
        labels, points = centroids(self._drawn(Head.HOW, known).queries, [p.set_name for p in known])
        found = [labels[index] for index in (drawn.queries @ points.T).argmax(1).tolist()]
        return Share(sum(best == own for best, own in zip(found, drawn.sets, strict=True)), len(found))

    def _pretrained_names(self) -> dict[str, Share]:
        """The ceiling of the quality report: icons that the encoder was trained on, drawn again."""
        drawn = self._drawn(Head.WHAT, random.Random(0).sample(self.pictures.for_encoder, _SAMPLED))
        found = load_prototypes(Head.WHAT, self.folder).nearest(drawn.queries, count=5)
        pairs = list(zip(found, drawn.names, strict=True))
        return {
            "what, pretrained names: nearest prototype": Share(sum(own == best[0] for best, own in pairs), len(pairs)),
            "what, pretrained names: among the 5 nearest": Share(sum(own in best for best, own in pairs), len(pairs)),
        }


def write(work_dir: Path, folder: Path, base: Path) -> dict[str, Share]:
    """Measure the encoder in `folder`; print to and return from `encoder-figures.json` in the working directory."""
    vae = AutoencoderKL.from_pretrained(base / "vae", dtype=torch.float32)
    shares = Report(Pictures.load(work_dir), folder, vae).shares()
    figures = {name: asdict(share) for name, share in shares.items()}
    (work_dir / "encoder-figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    return shares
