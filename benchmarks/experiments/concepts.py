"""Concepts to learn, drawn from one part of the committed split, with the pictures that judge them set apart.

An object is one icon of one pretrained set under a held-out name. A style is a set that pretraining never saw, or a
pretrained one redrawn by a filter that the generator never saw. Training and reference pictures never share a
placement; those of an object differ in their backgrounds as well, and those of a style in the things that they show.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np
from PIL import Image

from app.domain.concepts import ConceptKind, TaughtConcept
from recipes.icons_64.captions import article
from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.encoder_augmentation import Filter
from recipes.icons_64.encoder_training import redraw
from recipes.icons_64.icon_sets import PRETRAINING_SETS
from recipes.icons_64.pictures import Placement, compose
from recipes.icons_64.split import Split, load_split
from worker.evaluation.colours import BACKGROUNDS


class Part(StrEnum):
    """What the held-out names and sets are for: tune options, search strategies, confirm once."""

    TUNING = "tuning"
    SEARCH = "search"
    CONFIRMATION = "confirmation"


# The tuning styles are those of the samples, which everyone has looked at already.
STYLE_SETS = {
    Part.TUNING: ("fxemoji",),
    Part.SEARCH: ("openmoji",),
    Part.CONFIRMATION: ("emojione", "noto-v1", "streamline-emojis"),
}
# Whose icons are redrawn; a filter leaves nothing to see of the high-contrast set, which is black.
REDRAWN_SETS = {
    Part.TUNING: ("fluent-emoji-flat",),
    Part.SEARCH: ("fluent-emoji",),
    Part.CONFIRMATION: ("noto", "twemoji"),
}
TRAINING_PICTURES = 5
_STYLE_REFERENCES = 12
Choice = TypeVar("Choice")


@dataclass(frozen=True)
class Asked:
    """One prompt of an evaluation, and what its picture has to keep: the background, and of a style the thing shown."""

    token: str
    prompt: str
    background: str
    subject: str | None


@dataclass(frozen=True)
class Concept:
    """What is taught with `training` and judged by `references`.

    `icons`: it as its designers drew it, in RGBA. `subjects`: what a style is asked to draw, an icon for each.
    """

    name: str
    kind: ConceptKind
    class_noun: str | None
    training: tuple[Image.Image, ...]
    references: tuple[Image.Image, ...]
    icons: tuple[Image.Image, ...]
    subjects: tuple[str, ...] = ()

    def taught(self, token: str) -> TaughtConcept:
        """The concept under that rare token."""
        return TaughtConcept(name=self.name, kind=self.kind, class_noun=self.class_noun, token=token)

    def asked(self, token: str, count: int) -> list[Asked]:
        """`count` prompts over the twelve backgrounds and the subjects in turn; the same each time."""
        taught = self.taught(token)
        return [self._asked(taught, number) for number in range(count)]

    def itself(self, asked: Sequence[Asked]) -> list[Image.Image]:
        """What a faultless adapter would draw for these prompts: the very icons, each somewhere on its background."""
        generator = random.Random(f"itself {self.name}")
        return [_place(self.icons[self._place_of(one)], one.background, generator) for one in asked]

    def _place_of(self, asked: Asked) -> int:
        return self.subjects.index(asked.subject) if asked.subject else 0

    def _asked(self, taught: TaughtConcept, number: int) -> Asked:
        colours = list(BACKGROUNDS)
        subject = self.subjects[number % len(self.subjects)] if self.subjects else None
        # A round over the subjects later, each meets the next colour.
        turn = number + number // len(self.subjects) if self.subjects else number
        background = colours[turn % len(colours)]
        shown = taught.instance_prompt() if subject is None else f"{taught.phrase()} image of {article(subject)}"
        return Asked(taught.token, f"{shown} on {article(background)} background", background, subject)


def draw_objects(pictures: Pictures, part: Part, count: int, seed: int) -> list[Concept]:
    """`count` held-out names of the part, each as one pretrained set draws it.

    Raises:
        ValueError: the part has fewer.
    """
    nouns = _names(load_split(), part)
    sets = {icon_set.name for icon_set in PRETRAINING_SETS}
    by_name: dict[str, list[Picture]] = {}
    for picture in pictures.index:
        if picture.name in nouns and picture.set_name in sets:
            by_name.setdefault(picture.name, []).append(picture)
    names = _sample(sorted(by_name), count, seed)
    return [_object(pictures, _one_of(by_name[name], seed), nouns[name], seed) for name in names]


def draw_styles(pictures: Pictures, part: Part, count: int, seed: int) -> list[Concept]:
    """`count` held-out sets of the part, shown by things that the base knows from other sets.

    Raises:
        ValueError: the part has fewer.
    """
    sets = _sample(STYLE_SETS[part], count, seed)
    return _styles(pictures, [(name, Filter.NONE) for name in sets], seed)


def draw_redrawn_styles(pictures: Pictures, part: Part, count: int, seed: int) -> list[Concept]:
    """`count` filters, each over a set of the part's. The *how* encoder has learned to tell them; no generator has.

    Raises:
        ValueError: there are fewer filters.
    """
    filters = _sample([style for style in Filter if style is not Filter.NONE], count, seed)
    sets = random.Random(f"redrawn {seed}").choices(REDRAWN_SETS[part], k=count)
    return _styles(pictures, list(zip(sets, filters, strict=True)), seed)


def _names(split: Split, part: Part) -> dict[str, str]:
    return {Part.TUNING: split.tuning, Part.SEARCH: split.search, Part.CONFIRMATION: split.confirmation}[part]


def _sample(names: Sequence[Choice], count: int, seed: int) -> list[Choice]:
    if count > len(names):
        raise ValueError(f"{count} concepts were asked for, but this part of the split has {len(names)}")
    return random.Random(f"concepts {seed}").sample(names, count)


def _one_of(drawings: list[Picture], seed: int) -> Picture:
    return random.Random(f"set {seed} {drawings[0].name}").choice(drawings)


def _object(pictures: Pictures, picture: Picture, class_noun: str, seed: int) -> Concept:
    generator = random.Random(f"object {seed} {picture.set_name} {picture.name}")
    colours = generator.sample(list(BACKGROUNDS), len(BACKGROUNDS))
    icon = _icon(pictures, picture)
    drawn = [_place(icon, colour, generator) for colour in colours]
    return Concept(
        name=f"{picture.set_name}-{picture.name}".replace(" ", "-"),
        kind=ConceptKind.OBJECT,
        class_noun=class_noun,
        training=tuple(drawn[:TRAINING_PICTURES]),
        references=tuple(drawn[TRAINING_PICTURES:]),
        icons=(icon,),
    )


def _styles(pictures: Pictures, drawn_by: Sequence[tuple[str, Filter]], seed: int) -> list[Concept]:
    """One for each set and filter, shown by things that the base knows."""
    names = {picture.name for picture in pictures.for_generator}
    known = [picture for picture in pictures.index if picture.name in names]
    return [
        _style(pictures, [picture for picture in known if picture.set_name == set_name], style, seed)
        for set_name, style in drawn_by
    ]


def _style(pictures: Pictures, of_set: list[Picture], style: Filter, seed: int) -> Concept:
    set_name = of_set[0].set_name
    name = set_name if style is Filter.NONE else f"{set_name}-{style}"
    generator = random.Random(f"style {seed} {name}")
    shown = generator.sample(of_set, TRAINING_PICTURES + _STYLE_REFERENCES)
    colours = generator.sample(list(BACKGROUNDS), len(BACKGROUNDS))
    icons = [_icon(pictures, picture, style) for picture in shown]
    drawn = [_place(icon, colours[n % len(colours)], generator) for n, icon in enumerate(icons)]
    return Concept(
        name=name,
        kind=ConceptKind.STYLE,
        class_noun=None,
        training=tuple(drawn[:TRAINING_PICTURES]),
        references=tuple(drawn[TRAINING_PICTURES:]),
        icons=tuple(icons[TRAINING_PICTURES:]),
        subjects=tuple(picture.name for picture in shown[TRAINING_PICTURES:]),
    )


def _icon(pictures: Pictures, picture: Picture, style: Filter = Filter.NONE) -> Image.Image:
    raster = pictures.rasters[picture.row]
    return Image.fromarray(raster if style is Filter.NONE else redraw(raster, style), "RGBA")


def _place(icon: Image.Image, background: str, generator: random.Random) -> Image.Image:
    return Image.fromarray(compose(np.asarray(icon), Placement.draw(generator, background)))
