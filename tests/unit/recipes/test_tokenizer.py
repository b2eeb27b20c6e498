"""Each word of the captions, and above all each rare token, is one token."""

import pytest
from transformers import CLIPTokenizer

from recipes.icons_64.captions import every_word
from recipes.icons_64.rare_tokens import RARE_TOKENS
from recipes.icons_64.tokenizer import MAX_LENGTH, build


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build(every_word(["pineapple", "soccer ball"], ["fruit", "sea animal"]))


def test_there_are_64_different_rare_tokens() -> None:
    assert len(set(RARE_TOKENS)) == len(RARE_TOKENS) == 64


@pytest.mark.parametrize("context", ["{}", "a {} dog", "A {} pineapple,", "<{}>"])
def test_rare_tokens_are_single_in_any_context_and_case(tokenizer: CLIPTokenizer, context: str) -> None:
    for token in RARE_TOKENS:
        for written in (token, token.upper(), token.capitalize()):
            assert f"{token}</w>" in tokenizer.tokenize(context.format(written))


def test_words_are_single_and_unknown_ones_are_spelt(tokenizer: CLIPTokenizer) -> None:
    assert tokenizer.tokenize("a Noto pineapple") == ["a</w>", "noto</w>", "pineapple</w>"]
    assert tokenizer.unk_token_id not in tokenizer("jalapeño 12 %", add_special_tokens=False).input_ids


def test_prompts_are_padded_to_the_models_length(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("a pineapple", padding="max_length").input_ids
    assert len(ids) == MAX_LENGTH
    assert (ids[0], ids[3]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
