"""The outside judge's making: the network is the published one, and the whitening does what it says."""

from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import load_file
from torch import Tensor

from recipes.icons_64 import judge
from recipes.icons_64.judge_network import converted, published_weights
from tests.unit.recipes.tiny_icons import NAMES, write_tiny_icons
from tests.unit.worker.evaluation.encoders.properties import noise
from worker.evaluation.encoders.icons import Head
from worker.evaluation.encoders.lite0 import FOLDER, NETWORK, block_means, columns, load_lite0, prepared
from worker.evaluation.encoders.lite0_net import BLOCK_WIDTHS
from worker.evaluation.encoders.prototypes import load_prototypes


@pytest.mark.parametrize("side", [128, 224])
def test_the_network_is_the_wheels(side: int) -> None:
    """Block for block, at our size and at the one that it was trained at."""
    theirs = EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(published_weights())
    theirs.eval()
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))
    with torch.no_grad():
        found = prepared(converted(published_weights()))(pixels)
        x = theirs._swish(theirs._bn0(theirs._conv_stem(pixels)))
        for ours, block in zip(found, theirs._blocks, strict=True):
            x = block(x)
            assert float((ours - x).abs().max()) < 1e-4 * float(x.abs().max())


def test_the_shipped_network_is_the_published_one_in_halves() -> None:
    shipped = load_file(FOLDER / NETWORK)
    whole = converted(published_weights()).state_dict()
    assert shipped
    for name, tensor in shipped.items():
        assert tensor.dtype == torch.float16
        assert torch.equal(tensor, whole[name].half())


def made_up(per_name: int, seed: int = 0) -> tuple[Tensor, list[str]]:
    """Features whose channels are mixed and differ in size, about a centre for each of twenty names."""
    generator = np.random.default_rng(seed)
    width = sum(BLOCK_WIDTHS)
    centres = generator.normal(size=(20, width)) * 50
    mixing = generator.normal(size=(width, width)) / width**0.5 * generator.uniform(0.1, 10, width)
    names = [f"name {n}" for n in range(20) for _ in range(per_name)]
    features = np.repeat(centres, per_name, axis=0) + generator.normal(size=(len(names), width)) @ mixing
    return torch.from_numpy(features).float(), names


def test_whitened_pictures_of_one_name_differ_in_every_direction_alike() -> None:
    means, names = made_up(per_name=60)
    blocks = (0, 3)
    whitening = judge.WithinNames.of(means, names).whitening(blocks, shrinkage=0.0)
    points = ((means[:, columns(blocks)] - whitening.mean) @ whitening.matrix.T).double()
    within = points - points.view(20, 60, -1).mean(1).repeat_interleave(60, 0)
    covariance = within.T @ within / (len(names) - 20)
    assert points.shape[1] == BLOCK_WIDTHS[0] + BLOCK_WIDTHS[3]
    assert torch.allclose(covariance, torch.eye(len(covariance), dtype=torch.double), atol=1e-3)
    assert torch.allclose(points.mean(0), torch.zeros(len(covariance), dtype=torch.double), atol=1e-2)


def test_shrunk_all_the_way_each_channel_is_only_scaled() -> None:
    means, names = made_up(per_name=5)
    matrix = judge.WithinNames.of(means, names).whitening((1,), shrinkage=1.0).matrix
    assert torch.equal(matrix, matrix.diagonal().diag())


def test_names_count_alike_however_many_pictures_they_have() -> None:
    means, names = made_up(per_name=4)
    more = torch.cat([means, means[:4].repeat(10, 1)])
    once, often = (
        judge.WithinNames.of(m, n).whitening((2,), 0.5) for m, n in ((means, names), (more, [*names, *names[:4] * 10]))
    )
    assert torch.allclose(once.mean, often.mean, atol=1e-4)


def test_what_the_stage_writes_is_an_encoder_that_knows_the_names(tmp_path: Path) -> None:
    pictures = write_tiny_icons(tmp_path)
    judge.make(tmp_path, tmp_path / "lite0")
    encoder = load_lite0(torch.device("cpu"), tmp_path / "lite0")
    assert encoder.embed([noise(0)]).isfinite().all()
    assert load_prototypes(Head.WHAT, tmp_path / "lite0").labels == tuple(sorted(NAMES))
    assert len(pictures.for_pretraining) == 8


def test_a_pictures_means_are_its_own_and_in_the_blocks_order() -> None:
    net = prepared(converted(published_weights(), depth=3))
    pictures = [noise(seed, 128) for seed in range(20)]
    means = block_means(net, pictures)
    assert means.shape == (20, sum(BLOCK_WIDTHS[:3]))
    assert torch.allclose(means[17:18], block_means(net, pictures[17:18]), atol=1e-5)
    assert columns([1]).tolist() == list(range(BLOCK_WIDTHS[0], BLOCK_WIDTHS[0] + BLOCK_WIDTHS[1]))
