"""Concepts come from their part of the split alone, and nothing judges them that taught them."""

import numpy as np
import pytest

from app.domain.concepts import ConceptKind
from benchmarks.experiments.concepts import (
    REDRAWN_SETS,
    STYLE_SETS,
    Concept,
    Part,
    draw_objects,
    draw_redrawn_styles,
    draw_styles,
)
from recipes.icons_64.encoder_augmentation import Filter
from recipes.icons_64.icon_sets import HELD_OUT_SETS, PRETRAINING_SETS
from recipes.icons_64.split import load_split
from tests.unit.benchmarks.made_up import icons
from worker.evaluation.colours import BACKGROUNDS, nearest_background

pytestmark = pytest.mark.slow

ALL = 40


def drawn(part: Part, seed: int = 0) -> list[Concept]:
    return [
        *draw_objects(icons(), part, 10, seed),
        *draw_styles(icons(), part, 1, seed),
        *draw_redrawn_styles(icons(), part, 5, seed),
    ]


@pytest.mark.parametrize("part", Part)
def test_objects_are_names_of_the_part_alone(part: Part) -> None:
    nouns = getattr(load_split(), part.value)
    objects = draw_objects(icons(), part, ALL, seed=3)
    known = {f"{p.set_name}-{p.name}".replace(" ", "-"): p.name for p in icons().index}
    assert sorted(known[concept.name] for concept in objects) == sorted(nouns)
    assert all(concept.class_noun == nouns[known[concept.name]] for concept in objects)


def test_no_style_is_in_two_parts_and_none_was_pretrained() -> None:
    sets = [name for part in Part for name in STYLE_SETS[part]]
    assert len(set(sets)) == len(sets)
    assert set(sets) == {icon_set.name for icon_set in HELD_OUT_SETS}


@pytest.mark.parametrize("part", Part)
def test_redrawn_styles_are_different_filters_over_the_parts_own_sets(part: Part) -> None:
    for seed in range(4):
        names = [concept.name for concept in draw_redrawn_styles(icons(), part, 5, seed)]
        filters = {name.rpartition("-")[2] for name in names}
        assert filters == {style.value for style in Filter if style is not Filter.NONE}
        assert {name.rpartition("-")[0] for name in names} <= set(REDRAWN_SETS[part])
    sets = [name for part in Part for name in REDRAWN_SETS[part]]
    assert len(set(sets)) == len(sets)
    assert set(sets) == {icon_set.name for icon_set in PRETRAINING_SETS} - {"fluent-emoji-high-contrast"}


def test_redrawn_pictures_are_what_the_filter_makes_of_the_icon() -> None:
    """Made-up icons are squares of one colour: grey ones have three equal channels."""
    styles = draw_redrawn_styles(icons(), Part.TUNING, 5, seed=0)
    grey = next(style for style in styles if style.name.endswith("grey"))
    for picture in (*grey.training, *grey.references):
        middle = np.asarray(picture)[24:40, 24:40].reshape(-1, 3).astype(int)
        assert np.ptp(middle, axis=1).max() <= 1


@pytest.mark.parametrize("part", Part)
def test_training_and_reference_pictures_are_disjoint(part: Part) -> None:
    for concept in drawn(part):
        training = {image.tobytes() for image in concept.training}
        references = {image.tobytes() for image in concept.references}
        assert len(training) == len(concept.training) == 5
        assert len(references) == len(concept.references) >= 7
        assert not training & references


def test_references_of_objects_stand_on_other_backgrounds() -> None:
    for concept in draw_objects(icons(), Part.TUNING, 5, seed=0):
        taught = {nearest_background(np.asarray(image)) for image in concept.training}
        judged = {nearest_background(np.asarray(image)) for image in concept.references}
        assert taught | judged == set(BACKGROUNDS)
        assert not taught & judged


def test_styles_are_asked_for_known_things_that_they_were_not_taught_with() -> None:
    known = {picture.name for picture in icons().for_generator}
    for concept in draw_styles(icons(), Part.CONFIRMATION, 3, seed=1):
        assert len(set(concept.subjects)) == len(concept.references) == 12
        assert set(concept.subjects) <= known


def test_prompts_name_the_token_and_go_round_backgrounds_and_subjects() -> None:
    an_object, style = draw_objects(icons(), Part.TUNING, 1, 0)[0], draw_styles(icons(), Part.TUNING, 1, 0)[0]
    asked = an_object.asked("zqa", 24)
    assert asked[0].prompt == f"a photo of zqa {an_object.class_noun} on a {asked[0].background} background"
    assert all([one.background for one in asked].count(colour) == 2 for colour in BACKGROUNDS)
    of_style = style.asked("zqa", 144)
    assert of_style[0].prompt.startswith("zqa style image of a")
    assert len({(one.subject, one.background) for one in of_style}) == 144


@pytest.mark.parametrize("part", Part)
def test_a_concept_itself_is_its_icon_on_the_background_that_was_asked_for(part: Part) -> None:
    """Made-up icons are squares of one colour each, so the middle tells which one it is."""
    by_colour = {tuple(icons().rasters[p.row][0, 0, :3].tolist()): p for p in icons().index}
    for concept in (*draw_objects(icons(), part, 3, 0), *draw_styles(icons(), part, 1, 0)):
        asked = concept.asked("zqa", 32)
        for one, picture in zip(asked, concept.itself(asked), strict=True):
            pixels = np.asarray(picture)
            shown = by_colour[tuple(pixels[32, 32].tolist())]
            assert nearest_background(pixels) == one.background
            expected = concept.name if one.subject is None else f"{concept.name}-{one.subject}"
            assert f"{shown.set_name}-{shown.name}".replace(" ", "-") == expected.replace(" ", "-")


def test_the_same_seed_draws_the_same_and_another_draws_others() -> None:
    first, again, other = (drawn(Part.SEARCH, seed) for seed in (0, 0, 1))
    assert first == again
    assert {c.name for c in first} != {c.name for c in other}
    assert [c.kind for c in first].count(ConceptKind.OBJECT) == 10


def test_a_part_cannot_give_more_than_it_has() -> None:
    with pytest.raises(ValueError, match="41 concepts were asked for"):
        draw_objects(icons(), Part.TUNING, ALL + 1, seed=0)
