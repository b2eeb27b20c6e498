"""The committed sample sets: what the demo uploads, and that pretraining did not see it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from recipes.icons_64.split import load_split

SAMPLES = Path(__file__).parents[3] / "samples"
ROWS = json.loads((SAMPLES / "samples.json").read_text())


def test_there_are_six_objects_and_two_styles() -> None:
    kinds = [row["kind"] for row in ROWS]
    assert kinds.count("object") >= 6
    assert kinds.count("style") >= 2


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_a_set_holds_four_to_six_pictures_and_its_licence(row: dict[str, str]) -> None:
    pictures = sorted((SAMPLES / row["folder"]).glob("*.png"))
    assert 4 <= len(pictures) <= 6
    assert all(Image.open(path).size == (256, 256) for path in pictures)
    assert "SA" not in row["license"]
    assert f"`{row['folder']}` | {row['source_set']} | {row['license']}" in (SAMPLES / "LICENSES.md").read_text()


def test_objects_are_of_the_tuning_split_and_styles_of_held_out_sets() -> None:
    from recipes.icons_64.encoder_augmentation import Filter
    from recipes.icons_64.samples import SAMPLE_SETS

    split = load_split()
    for sample_set in SAMPLE_SETS:
        if sample_set.kind == "object":
            assert split.tuning[sample_set.names[0]] == sample_set.class_noun
        else:
            assert sample_set.source_set in split.held_out_sets or sample_set.filter is not Filter.NONE
            assert not set(sample_set.names) & split.held_out_names
