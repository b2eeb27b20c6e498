"""Captions name what is shown, vary, and put rare tokens where concepts will stand."""

import random

import pytest

from recipes.icons_64.captions import Shown, caption, every_word
from recipes.icons_64.rare_tokens import RARE_TOKENS
from worker.evaluation.colours import BACKGROUNDS

SHOWN = Shown("noto", "pineapple", "fruit", "orange")


@pytest.fixture(scope="module")
def captions() -> list[str]:
    generator = random.Random(0)
    return [caption(SHOWN, generator) for _ in range(5000)]


def test_a_tenth_is_empty(captions: list[str]) -> None:
    assert 0.08 < captions.count("") / len(captions) < 0.12


def test_every_other_caption_names_the_thing_or_its_class(captions: list[str]) -> None:
    assert all("pineapple" in text or "fruit" in text for text in captions if text)


def test_no_placeholder_is_left_and_no_other_colour_is_named(captions: list[str]) -> None:
    assert not any("{" in text or "}" in text for text in captions)
    assert not any(f"{colour} background" in text for text in captions for colour in BACKGROUNDS if colour != "orange")


@pytest.mark.parametrize(
    "template",
    [
        "a photo of {token} pineapple",
        "a photo of {token} fruit",
        "{token} style image of a pineapple",
        "a noto icon of a {token} pineapple on an orange background",
        "a noto icon of a pineapple on an orange background",
        "a photo of a pineapple, noto style, orange background",
    ],
)
def test_the_prompts_used_later_occur(captions: list[str], template: str) -> None:
    wanted = {template.format(token=token) for token in RARE_TOKENS}
    # Any of the 64 tokens will do; with a background or without.
    assert any(text.startswith(tuple(wanted)) for text in captions)


def test_rare_tokens_occur_evenly_and_now_and_then(captions: list[str]) -> None:
    with_token = [text for text in captions if set(text.replace(",", "").split()) & set(RARE_TOKENS)]
    assert 0.08 < len(with_token) / len(captions) < 0.2
    assert {token for token in RARE_TOKENS if any(token in text.split() for text in with_token)} == set(RARE_TOKENS)


def test_captions_are_determined_by_the_generator() -> None:
    assert caption(SHOWN, random.Random(3)) == caption(SHOWN, random.Random(3))


def test_every_word_of_a_caption_is_among_the_words_to_learn(captions: list[str]) -> None:
    words = set(" ".join(every_word(["pineapple"], ["fruit"])).replace(",", " ").split())
    assert {word for text in captions for word in text.replace(",", " ").split()} <= words
