"""The shipped encoder, on real pictures of things and of styles that its training never saw."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from recipes.icons_64.icon_sets import NAMING_SETS
from recipes.icons_64.split import load_split
from tests.unit.worker.evaluation.encoders.properties import assert_is_an_encoder, assert_sees_size_little
from worker.evaluation.encoders.base import EncoderError
from worker.evaluation.encoders.encoder_registry import load_encoder
from worker.evaluation.encoders.icons import FOLDER, Head, load_icons
from worker.evaluation.encoders.prototypes import load_prototypes

SAMPLES = Path(__file__).parents[5] / "samples"
MEGABYTE = 1e6


def pictures(folder: Path) -> list[Image.Image]:
    return [Image.open(path) for path in sorted(folder.glob("*.png"))]


def embedded(name: str, pattern: str) -> tuple[Tensor, list[str]]:
    """The samples' pictures, one object or style per folder: the embeddings and each picture's folder."""
    shown = [(picture, folder.name) for folder in sorted(SAMPLES.glob(pattern)) for picture in pictures(folder)]
    return load_encoder(name).embed([picture for picture, _ in shown]), [folder for _, folder in shown]


def share_nearest_alike(points: Tensor, labels: list[str]) -> float:
    """How often a picture's nearest other picture is of its own folder."""
    nearest: list[int] = (points @ points.T).fill_diagonal_(-1.0).argmax(1).tolist()
    return sum(labels[index] == label for index, label in zip(nearest, labels, strict=True)) / len(labels)


@pytest.mark.parametrize("head", Head)
def test_it_is_an_encoder(head: Head) -> None:
    encoder = load_encoder(f"icons-64-{head}")
    assert encoder.name == f"icons-64-{head}"
    assert_is_an_encoder(encoder)
    assert_sees_size_little(encoder)


def test_it_is_small() -> None:
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors"}
    assert sum(path.stat().st_size for path in files) < 5 * MEGABYTE


def test_an_unseen_object_is_nearest_to_itself_on_other_backgrounds() -> None:
    points, labels = embedded("icons-64-what", "my-*")
    assert len(set(labels)) >= 8
    assert share_nearest_alike(points, labels) >= 0.9


def test_unseen_styles_are_told_apart_whatever_they_show() -> None:
    """The two style samples are of held-out sets and show partly the same things."""
    points, labels = embedded("icons-64-how", "*-drawing")
    assert len(set(labels)) == 2
    assert share_nearest_alike(points, labels) >= 0.9


def test_what_is_transparent_shows_white() -> None:
    encoder = load_encoder("icons-64-what")
    disc = Image.new("L", (64, 64), 0)
    disc.paste(255, (16, 16, 48, 48))
    clear = Image.new("RGBA", (64, 64), (200, 0, 0, 255))
    clear.putalpha(disc)
    on_white = Image.new("RGB", (64, 64), "white")
    on_white.paste((200, 0, 0), (16, 16, 48, 48))
    assert torch.allclose(encoder.embed([clear]), encoder.embed([on_white]), atol=1e-5)


def test_prototypes_are_of_what_pretraining_saw_alone() -> None:
    names, sets = load_prototypes(Head.WHAT), load_prototypes(Head.HOW)
    assert len(names.labels) == len(set(names.labels)) > 1_000
    assert not load_split().held_out_names.intersection(names.labels)
    assert set(sets.labels) == {icon_set.name for icon_set in NAMING_SETS}
    for prototypes in (names, sets):
        assert torch.allclose(prototypes.points.norm(dim=1), torch.ones(len(prototypes.labels)))
        assert prototypes.nearest(prototypes.points[:5], count=2)[3][0] == prototypes.labels[3]


def test_the_nearest_names_of_a_pretrained_thing_hold_its_own() -> None:
    """The style samples show pretrained things, drawn as no pretraining set draws them."""
    files = sorted(SAMPLES.glob("fx-drawing/*.png"))
    shown = [path.stem.split("-", 1)[1].partition("-on-")[0].replace("-", " ") for path in files]
    points = load_encoder("icons-64-what").embed([Image.open(path) for path in files])
    found = load_prototypes(Head.WHAT).nearest(points, count=20)
    assert sum(name in nearest for name, nearest in zip(shown, found, strict=True)) >= 3


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError):
        load_icons(Head.WHAT, torch.device("cpu"), tmp_path)
    with pytest.raises(EncoderError):
        load_prototypes(Head.WHAT, tmp_path)
