"""The judge that nobody here trained, on real pictures of things that its whitening never saw."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from recipes.icons_64.split import load_split
from tests.unit.worker.evaluation.encoders.properties import assert_is_an_encoder, assert_sees_size_little
from tests.unit.worker.evaluation.encoders.test_icons import embedded, share_nearest_alike
from worker.evaluation.encoders.base import EncoderError
from worker.evaluation.encoders.encoder_registry import load_encoder
from worker.evaluation.encoders.icons import Head
from worker.evaluation.encoders.lite0 import FOLDER, NETWORK, WHITENING, load_lite0
from worker.evaluation.encoders.prototypes import FILE, load_prototypes

CPU = torch.device("cpu")
MEGABYTE = 1e6


def test_it_is_an_encoder() -> None:
    encoder = load_encoder("lite0-what")
    assert encoder.name == "lite0-what"
    assert_is_an_encoder(encoder)
    assert_sees_size_little(encoder)


def test_it_is_small_and_safetensors_only() -> None:
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    assert {path.name for path in files} == {NETWORK, WHITENING, FILE}
    assert sum(path.stat().st_size for path in files) < 20 * MEGABYTE


def test_an_unseen_object_is_nearest_to_itself_on_other_backgrounds() -> None:
    points, labels = embedded("lite0-what", "my-*")
    assert len(set(labels)) >= 8
    assert share_nearest_alike(points, labels) >= 0.95


def test_prototypes_are_of_what_pretraining_saw_alone() -> None:
    names = load_prototypes(Head.WHAT, FOLDER)
    assert len(names.labels) == len(set(names.labels)) > 1_000
    assert not load_split().held_out_names.intersection(names.labels)
    assert torch.allclose(names.points.norm(dim=1), torch.ones(len(names.labels)))
    assert names.nearest(names.points[:5], count=2)[3][0] == names.labels[3]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the shipped files."""
    for name in (NETWORK, WHITENING):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    return tmp_path


def test_another_whitening_has_another_fingerprint(copy: Path) -> None:
    assert load_lite0(CPU, copy).fingerprint == load_lite0(CPU).fingerprint
    tensors = load_file(FOLDER / WHITENING)
    with safe_open(FOLDER / WHITENING, "pt") as stored:
        told = stored.metadata()
    save_file({**tensors, "mean": tensors["mean"] + 1}, copy / WHITENING, metadata=told)
    assert load_lite0(CPU, copy).fingerprint != load_lite0(CPU).fingerprint


@pytest.mark.parametrize(("block", "width"), [(14, 384), (15, 320)])
def test_a_whitening_of_other_blocks_is_refused(copy: Path, block: int, width: int) -> None:
    """One is not as wide as its block; the other wants a block that the network's file does not have."""
    tensors = {"mean": torch.zeros(width), "matrix": torch.eye(width)}
    save_file(tensors, copy / WHITENING, metadata={"blocks": f"[{block}]"})
    with pytest.raises(EncoderError):
        load_lite0(CPU, copy)


@pytest.mark.parametrize("name", [NETWORK, WHITENING])
def test_a_file_that_is_missing_or_cut_off_is_refused(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(EncoderError):
        load_lite0(CPU, copy)
    (copy / name).unlink()
    with pytest.raises(EncoderError):
        load_lite0(CPU, copy)
