"""Captions for pretraining: varied in wording and order, with the templates of later prompts.

A caption names what a picture shows (or only its class), often its style and background, and now and then a rare token.
The token stands, as a word without meaning, where a learned concept puts it: "{token} {noun}" and "{token} style". So
the text encoder, which is frozen later, has learned to tell the tokens apart. The UNet has learned to draw the same
picture whether or not one stands there.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from recipes.icons_64.icon_sets import PRETRAINING_SETS
from recipes.icons_64.rare_tokens import RARE_TOKENS
from recipes.icons_64.redrawings import Redrawing
from worker.evaluation.colours import BACKGROUNDS

SET_NOUNS = {icon_set.name: icon_set.noun for icon_set in PRETRAINING_SETS}
# Every style that captions name: five sets, eight redrawings.
STYLE_NOUNS = (*SET_NOUNS.values(), *(str(redrawing) for redrawing in Redrawing))

_PLAIN = ("a photo of {x}", "an icon of {x}", "an image of {x}", "a picture of {x}", "a drawing of {x}", "{x}")
_STYLED = (
    "a {s} icon of {x}",
    "a {s} icon of {x}",
    "{s} style image of {x}",
    "a {s} style image of {x}",
    "{s} style icon of {x}",
    "an icon of {x} in {s} style",
    "a photo of {x}, {s} style",
    "{x}, {s} style",
    "{x}, {s} icon",
)
_ON = ("{c} on {ab} background", "{c} on {ab} background", "{c}, {b} background", "{c} with {ab} background")
_ON_FIRST = ("on {ab} background, {c}", "{b} background, {c}")

_NO_CAPTION = 0.10
_CLASS_FOR_NAME = 0.12
_TOKEN_BEFORE_NOUN = 0.08
_TOKEN_AS_STYLE = 0.06
_STYLE_NAMED = 0.80
_BACKGROUND_NAMED = 0.85
_BACKGROUND_FIRST = 0.1


@dataclass(frozen=True)
class Shown:
    """What a picture shows: the nouns of its style, name and class (if it has one), and the background."""

    style_noun: str
    name: str
    class_noun: str | None
    background: str


def caption(shown: Shown, generator: random.Random) -> str:
    """One caption; empty for a tenth of the draws, so that the model also learns what guidance steers away from."""
    if generator.random() < _NO_CAPTION:
        return ""
    noun = shown.class_noun if shown.class_noun and generator.random() < _CLASS_FOR_NAME else shown.name
    text = _styled(_with_article(noun, generator), shown.style_noun, generator)
    if generator.random() >= _BACKGROUND_NAMED:
        return text
    templates = _ON_FIRST if generator.random() < _BACKGROUND_FIRST else _ON
    return generator.choice(templates).format(c=text, b=shown.background, ab=article(shown.background))


def full_caption(shown: Shown) -> str:
    """The caption that says all: name, style and background, as users' prompts do."""
    thing, background = article(shown.name), article(shown.background)
    return f"{article(shown.style_noun)} icon of {thing} on {background} background"


def every_word(names: list[str], nouns: list[str]) -> Iterator[str]:
    """Captions that together hold each name, noun, style, background and rare token: the tokenizer's data."""
    for template in _PLAIN + _STYLED:
        yield template.format(x="a an the", s="style")
    for template in _ON + _ON_FIRST:
        yield template.format(c="a", b="plain", ab="a plain")
    yield from names
    yield from nouns
    yield from STYLE_NOUNS
    yield from BACKGROUNDS
    yield from RARE_TOKENS


def _styled(subject: str, style_noun: str, generator: random.Random) -> str:
    draw = generator.random()
    if draw < _TOKEN_AS_STYLE:
        return generator.choice(_STYLED).format(x=subject, s=generator.choice(RARE_TOKENS))
    if draw < _TOKEN_AS_STYLE + _STYLE_NAMED:
        return generator.choice(_STYLED).format(x=subject, s=style_noun)
    return generator.choice(_PLAIN).format(x=subject)


def _with_article(noun: str, generator: random.Random) -> str:
    if generator.random() < _TOKEN_BEFORE_NOUN:
        noun = f"{generator.choice(RARE_TOKENS)} {noun}"
        return noun if generator.random() < 0.5 else article(noun)
    if generator.random() < 0.1:
        return noun
    return article(noun)


def article(noun: str) -> str:
    """The noun with its indefinite article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
