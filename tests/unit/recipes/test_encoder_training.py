"""The yardstick's training: the losses against plain loops, that it learns, and that a killed run loses nothing."""

import contextlib
from collections.abc import Callable
from math import exp, log
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from recipes.icons_64 import encoder_training
from recipes.icons_64.data import Pictures
from recipes.icons_64.encoder_augmentation import Filter
from recipes.icons_64.encoder_export import export
from recipes.icons_64.encoder_training import (
    IconBank,
    contrastive_loss,
    prepare_styles,
    prepare_things,
    proxy_loss,
)
from recipes.icons_64.pictures import Placement, compose
from recipes.icons_64.training import Run, Schedule
from tests.unit.recipes.tiny_icons import NAMES, SETS, write_tiny_icons
from worker.evaluation.encoders.icons import Head, load_icons
from worker.evaluation.encoders.prototypes import load_prototypes

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture
def bank(tmp_path: Path) -> IconBank:
    pictures = write_tiny_icons(tmp_path)
    return IconBank.build(pictures, pictures.for_pretraining)


Prepare = Callable[[IconBank, Path, Schedule, torch.device], tuple[Run, Callable[[int], Tensor]]]


def train(prepare: Prepare, bank: IconBank, folder: Path, total_steps: int = 4, dies_at: int | None = None) -> Run:
    folder.mkdir(exist_ok=True)
    run, objective = prepare(bank, folder, Schedule(total_steps, warmup_steps=2), CPU)

    def loss_of_step(step: int) -> Tensor:
        if step == dies_at:
            run.save()
            raise KeyboardInterrupt
        return objective(step)

    with contextlib.suppress(KeyboardInterrupt):
        run.train(loss_of_step)
    return run


def test_the_contrastive_loss_is_that_of_the_papers() -> None:
    """Each picture against the others and the proxies; alike are its label's other pictures and its label's proxy."""
    generator = torch.Generator().manual_seed(1)
    points = F.normalize(torch.randn(6, 3, generator=generator), dim=1)
    proxies = torch.randn(3, 3, generator=generator)
    labels = [0, 0, 0, 1, 1, 2]
    everything = torch.cat([points, F.normalize(proxies, dim=1)])
    similarity = (points @ everything.T / 0.1).tolist()
    total = 0.0
    for i in range(6):
        alike = [j for j in range(6) if j != i and labels[j] == labels[i]] + [6 + labels[i]]
        everyone = log(sum(exp(similarity[i][j]) for j in range(9) if j != i))
        total -= sum(similarity[i][j] - everyone for j in alike) / len(alike)
    loss = contrastive_loss(points, torch.tensor(labels), proxies)
    assert float(loss) == pytest.approx(total / 6, rel=1e-4)


def test_the_proxy_loss_knows_the_proxies_directions_alone() -> None:
    points = torch.eye(3)
    wrong = torch.tensor([1, 2, 0])
    expected = log(exp(1 / 0.07) + 2)
    assert float(proxy_loss(points, wrong, 5 * torch.eye(3))) == pytest.approx(expected, rel=1e-4)


def test_both_heads_learn(bank: IconBank, tmp_path: Path) -> None:
    for prepare in (prepare_things, prepare_styles):
        losses = train(prepare, bank, tmp_path, total_steps=16).losses
        assert np.mean(losses[-4:]) < 0.85 * losses[0]


def test_a_resumed_run_ends_bit_for_bit_where_an_undisturbed_one_does(bank: IconBank, tmp_path: Path) -> None:
    for prepare in (prepare_things, prepare_styles):
        whole = train(prepare, bank, tmp_path / "whole")
        train(prepare, bank, tmp_path / "resumed", dies_at=2)
        resumed = train(prepare, bank, tmp_path / "resumed")
        assert whole.losses == resumed.losses
        assert all(torch.equal(whole.averaged[name], resumed.averaged[name]) for name in whole.averaged)


def test_training_styles_leaves_the_trunk_as_it_is(bank: IconBank, tmp_path: Path) -> None:
    run = train(prepare_things, bank, tmp_path)
    train(prepare_styles, bank, tmp_path)
    trunk = encoder_training.load(tmp_path).trunk.state_dict()
    assert all(torch.equal(trunk[name], run.averaged[f"trunk.{name}"]) for name in trunk)


def test_a_step_draws_several_pictures_of_each_name_and_says_their_styles(bank: IconBank) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = bank.draw_rows(generator)
    assert bank.names[rows].bincount().tolist() == [4] * len(NAMES)
    pixels, styles = encoder_training.draw_pictures(bank, rows, generator)
    assert pixels.shape == (4 * len(NAMES), 3, 64, 64)
    assert torch.equal(styles // len(Filter), bank.sets[rows])
    assert 0 < int((styles % len(Filter) > 0).sum()) < len(rows)


def test_only_pretraining_pictures_are_looked_at(tmp_path: Path) -> None:
    pictures = write_tiny_icons(tmp_path)
    assert {picture.name for picture in pictures.for_pretraining} == set(NAMES)
    bank = IconBank.build(pictures, pictures.for_pretraining)
    assert bank.styles == len(SETS) * len(Filter)


def test_the_export_is_what_was_trained_and_has_prototypes(bank: IconBank, tmp_path: Path) -> None:
    for prepare in (prepare_things, prepare_styles):
        train(prepare, bank, tmp_path)
    exported = tmp_path / "exported"
    export(tmp_path, exported)
    picture = compose(Pictures.load(tmp_path).rasters[0], Placement(0.9, 0.5, 0.5, (250, 250, 250))).copy()
    with torch.no_grad():
        direct = encoder_training.load(tmp_path)(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1)
    labels = {Head.WHAT: tuple(sorted(NAMES)), Head.HOW: SETS}
    for head in Head:
        point = load_icons(head, CPU, exported).embed([Image.fromarray(picture)])
        # The exported weights are halved in precision.
        assert float((point * direct[head]).sum()) > 0.999
        assert load_prototypes(head, exported).labels == labels[head]
