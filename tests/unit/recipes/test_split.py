"""The committed split holds out what it says, and pretraining cannot see it."""

from collections import Counter
from itertools import combinations

from recipes.icons_64.icon_sets import HELD_OUT_SETS, PRETRAINING_SETS
from recipes.icons_64.redrawings import Redrawing
from recipes.icons_64.split import class_nouns, draw_split, load_split


def test_three_parts_of_forty_share_no_name() -> None:
    split = load_split()
    parts = [set(split.tuning), set(split.search), set(split.confirmation)]
    assert [len(part) for part in parts] == [40, 40, 40]
    assert not any(left & right for left, right in combinations(parts, 2))
    assert len(split.held_out_names) == 120


def test_held_out_sets_are_none_of_the_pretraining_ones() -> None:
    held_out = set(load_split().held_out_sets)
    assert held_out == {icon_set.name for icon_set in HELD_OUT_SETS}
    assert not held_out & {icon_set.name for icon_set in PRETRAINING_SETS}


def test_each_held_out_name_has_a_class_that_pretraining_knows() -> None:
    """The class noun of a concept has to mean something to the base."""
    split, nouns = load_split(), class_nouns()
    seen = Counter(noun for name, noun in nouns.items() if name not in split.held_out_names)
    for part in (split.tuning, split.search, split.confirmation):
        assert all(nouns[name] == noun and seen[noun] >= 2 for name, noun in part.items())


def test_the_loader_leaves_out_held_out_names_and_sets() -> None:
    from recipes.icons_64.data import Picture, pretraining_pictures

    split = load_split()
    held_out, style = sorted(split.held_out_names)[0], split.held_out_sets[0]
    index = [Picture("noto", "pineapple", 0), Picture("noto", held_out, 1), Picture(style, "pineapple", 2)]
    assert pretraining_pictures(index, split) == index[:1]


def test_drawing_is_determined_by_the_seed() -> None:
    counts = dict.fromkeys(class_nouns(), 5)
    known = [f"name {number}" for number in range(100)]
    first, again, other = (draw_split(counts, ["a"], known, ["bent", "blue"], seed) for seed in (1, 1, 2))
    assert first == again != other


def test_each_redrawing_has_forty_known_names_that_the_generator_never_sees_under_it() -> None:
    split, nouns = load_split(), class_nouns()
    assert split.unseen_combinations.keys() == {str(redrawing) for redrawing in Redrawing}
    for names in split.unseen_combinations.values():
        assert len(set(names)) == len(names) == 40
        assert set(names) <= nouns.keys() - split.held_out_names
    assert not any(set(a) & set(b) for a, b in combinations(split.unseen_combinations.values(), 2))
