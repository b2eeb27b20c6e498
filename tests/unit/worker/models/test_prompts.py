"""Prompts of any length: in chunks, each read as the pipeline reads a prompt, and the same bits for those that fit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.tiny_pipelines import tiny_base
from tests.tiny_sdxl import tiny_sdxl_base
from tests.unit.worker.models.test_next_family import FlowBase, tiny_sd3
from worker.models.base import Base, Sampling
from worker.models.prompts import in_chunks

# The tiny tokenizers read 24 tokens at once: a start, 22 words, an end.
ROOM = 22
FILL = ["a red cup"] * 9
LONG = " ".join([*FILL, "zqa cat"])
BASES: dict[str, Base] = {"sd": tiny_base(), "sdxl": tiny_sdxl_base()}
SAMPLING = Sampling(prompt=LONG, negative_prompt=None, steps=2, guidance_scale=3.0, width=64, height=64)


@pytest.fixture(params=list(BASES))
def base(request: pytest.FixtureRequest) -> Base:
    return BASES[str(request.param)]


def states(base: Base, *prompts: str) -> torch.Tensor:
    return base.encode_prompts(list(prompts)).tensors["encoder_hidden_states"]


def words(count: int) -> str:
    return " ".join(["cat", "dog", "cup", "red"][n % 4] for n in range(count))


@pytest.mark.parametrize("count", [0, 1, ROOM])
def test_a_prompt_that_fits_is_read_as_the_pipeline_reads_it(base: Base, count: int) -> None:
    assert states(base, words(count)).shape[1] == ROOM + 2
    beside_a_long_one = states(base, words(count), LONG)[:1, : ROOM + 2]
    torch.testing.assert_close(beside_a_long_one, states(base, words(count)))


def test_each_chunk_is_read_as_a_prompt_of_its_own(base: Base) -> None:
    first, rest = words(ROOM), "zqa cat on blue"
    read = states(base, f"{first} {rest}")
    assert read.shape[1] == 2 * (ROOM + 2)
    torch.testing.assert_close(read, torch.cat([states(base, first), states(base, rest)], dim=1))


def test_what_stands_at_the_end_of_a_long_prompt_is_seen_in_the_picture(base: Base) -> None:
    def drawn(sampling: Sampling) -> torch.Tensor:
        return base.sample_latents(sampling, [torch.Generator().manual_seed(1)], lambda *_: None)

    other = replace(SAMPLING, prompt=LONG.replace("zqa", "zqb"))
    assert not torch.equal(drawn(SAMPLING), drawn(other))
    unwanted = replace(SAMPLING, prompt="a cat", negative_prompt=LONG)
    assert not torch.equal(drawn(unwanted), drawn(replace(unwanted, negative_prompt=other.prompt)))
    assert not torch.equal(drawn(replace(SAMPLING, negative_prompt="a dog")), drawn(SAMPLING))
    assert base.unheard(LONG) == ""


def test_the_words_of_each_chunk_are_told_from_padding(base: Base) -> None:
    texts = base.text_inputs(["a cat", LONG])
    assert texts is not None
    assert texts.tokens.shape[:2] == texts.is_spoken.shape
    assert texts.is_spoken.sum(dim=1).tolist() == [2 + 2 + 2, 29 + 4]


def test_training_sees_the_end_of_a_long_prompt(base: Base) -> None:
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        said = [
            base.predict(noise, torch.tensor([500]), base.encode_prompts([prompt]))
            for prompt in (LONG, LONG.replace("zqa", "zqb"))
        ]
    assert not torch.equal(*said)


def test_a_family_that_cuts_prompts_says_what_falls_off() -> None:
    base = FlowBase(tiny_sd3())
    assert base.unheard(words(ROOM)) == ""
    assert base.unheard(f"{words(ROOM)} zqa cat") == "zqa cat"


def test_padding_is_that_of_an_empty_prompt() -> None:
    pipeline = tiny_base().pipeline
    chunks = in_chunks(pipeline.tokenizer, pipeline.text_encoder, ["a cat"], least=2)
    empty = pipeline.tokenizer("", padding="max_length", max_length=ROOM + 2, return_tensors="np").input_ids[0]
    assert np.array_equal(chunks.tokens[0, 1].numpy(), empty)
