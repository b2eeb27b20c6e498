"""Which samples there are, and how prompts speak of them."""

import pytest

from demo.__main__ import CONCEPTS
from demo.bodies import Manifest
from demo.errors import DemoError
from demo.samples import first_two_objects, load_samples


def test_the_demo_s_own_concepts_are_three_of_the_samples() -> None:
    samples = load_samples(CONCEPTS.split(","))
    assert len(samples) == 3
    assert all(len(sample.images) >= 4 for sample in samples)
    assert len({sample.class_noun for sample in samples}) == 3, "else the base's column would repeat itself"


def test_a_version_that_has_not_learned_a_concept_is_asked_for_its_class_alone() -> None:
    duck, ink = load_samples(["my-duck", "ink-drawing"])
    assert (duck.prompt(is_taught=True), duck.prompt(is_taught=False)) == ("a photo of <my-duck>", "a photo of bird")
    assert ink.prompt(is_taught=True) == "<ink-drawing> image of a cat"
    assert "<" not in ink.prompt(is_taught=False)


def test_only_objects_stand_side_by_side() -> None:
    duck, ink, peach = load_samples(["my-duck", "ink-drawing", "my-peach"])
    assert first_two_objects([duck, ink, peach]) == (duck, peach)
    assert first_two_objects([duck, ink]) is None


@pytest.mark.parametrize(("canvas", "wide"), [(None, None), ({"max_side": 96}, None), ({"max_side": 128}, 128)])
def test_a_base_is_wide_where_two_things_fit(canvas: dict[str, int] | None, wide: int | None) -> None:
    assert Manifest.model_validate({"resolution": 64, "canvas": canvas}).wide == wide


def test_an_unknown_sample_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DemoError, match=r"named my-dragon; there are .*my-duck"):
        load_samples(["my-duck", "my-dragon"])


def test_a_sample_twice_is_refused() -> None:
    with pytest.raises(DemoError, match="once"):
        load_samples(["my-duck", "my-duck"])
