"""What the denoiser is taught: which drawings, in which shares, and against which negatives."""

import pytest
import torch

from recipes.icons_64.data import Picture, Pictures
from recipes.icons_64.icon_sets import NAMING_SETS, PRETRAINING_SETS
from recipes.icons_64.latents import Latents, drawings
from recipes.icons_64.redrawings import SOURCE_SET, Redrawing
from recipes.icons_64.split import Split, class_nouns, load_split
from worker.evaluation.colours import BACKGROUNDS

THINGS = sorted(class_nouns().keys() - load_split().held_out_names)[:6]
SETS = tuple(dict.fromkeys(icon_set.name for icon_set in (*PRETRAINING_SETS, *NAMING_SETS)))


def in_every_set(things: list[str]) -> Pictures:
    index = [Picture(s, thing, row) for row, (s, thing) in enumerate((s, thing) for s in SETS for thing in things)]
    return Pictures(torch.zeros(len(index), 1, 1, 4, dtype=torch.uint8).numpy(), index)


@pytest.fixture(scope="module")
def latents() -> Latents:
    """Each row's latents are its own number, so that a sample says which drawing it is of."""
    shown = drawings(in_every_set(THINGS), load_split())
    rows = torch.arange(len(shown)).view(-1, 1, 1, 1, 1).float()
    mean = rows.expand(len(shown), len(BACKGROUNDS), 16, 8, 8)
    return Latents(mean, torch.zeros_like(mean), shown)


def test_unseen_combinations_are_not_taught() -> None:
    things = load_split().unseen_combinations["sticker"][:2]
    pictures = in_every_set(things)
    taught = {(d.style_noun, d.picture.name) for d in drawings(pictures, load_split())}
    assert not {("sticker", thing) for thing in things} & taught
    assert {("flat", thing) for thing in things} <= taught
    unrestricted = Split({}, {}, {}, [], {style: [] for style in Redrawing})
    everything = {(d.style_noun, d.picture.name) for d in drawings(pictures, unrestricted)}
    assert {("sticker", thing) for thing in things} <= everything


def test_a_quarter_is_redrawn_and_all_of_it_from_one_set(latents: Latents) -> None:
    rows = latents.draw(8_000, torch.Generator().manual_seed(0)).latents[:, 0, 0, 0].long()
    redrawn = torch.tensor([drawing.redrawing is not None for drawing in latents.drawings])
    assert float(redrawn[rows].float().mean()) == pytest.approx(0.25, abs=0.02)
    assert {d.picture.set_name for d in latents.drawings if d.redrawing} == {SOURCE_SET}
    assert set(rows.tolist()) == set(range(len(latents.drawings)))


def test_a_negative_is_the_same_thing_in_another_style(latents: Latents) -> None:
    batch = latents.draw(500, torch.Generator().manual_seed(1))
    rows, others = batch.latents[:, 0, 0, 0].long().tolist(), batch.negatives[:, 0, 0, 0].long().tolist()
    for row, other, shown in zip(rows, others, batch.shown, strict=True):
        assert latents.drawings[row].picture.name == latents.drawings[other].picture.name == shown.name
        assert latents.drawings[other].style_noun != latents.drawings[row].style_noun == shown.style_noun


def test_latents_of_a_few_names_are_whole(latents: Latents) -> None:
    few = latents.of_names(2)
    assert {drawing.picture.name for drawing in few.drawings} == set(THINGS[:2])
    assert [latents.drawings[int(row)] for row in few.mean[:, 0, 0, 0, 0]] == few.drawings
