"""The report's counting, on cases small enough to do by hand."""

import pytest
import torch

from recipes.icons_64.encoder_export import centroids
from recipes.icons_64.encoder_report import Share, same_label_nearest


def test_wilsons_interval() -> None:
    assert Share(8, 10).interval == pytest.approx((0.4902, 0.9433), abs=1e-3)
    low, high = Share(20, 20).interval
    assert 0.8 < low < 0.9
    assert high == pytest.approx(1.0)


def test_the_nearest_of_those_that_are_compared_decides() -> None:
    gallery = torch.eye(4)
    labels = ["a", "a", "b", "c"]
    nothing = torch.zeros(4, 4, dtype=torch.bool)
    assert same_label_nearest(gallery, gallery, labels, nothing) == Share(4, 4)
    queries = gallery.clone()
    queries[0] = torch.tensor([0.1, 0.2, 0.9, 0.0])
    assert same_label_nearest(queries, gallery, labels, nothing) == Share(3, 4)
    # Without themselves, b and c have nothing of their own label left, and are not asked.
    assert same_label_nearest(queries, gallery, labels, torch.eye(4, dtype=torch.bool)) == Share(1, 2)


def test_a_centroid_is_the_direction_of_the_mean() -> None:
    names, points = centroids(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), ["b", "b", "a"])
    assert names == ["a", "b"]
    assert torch.allclose(points, torch.tensor([[0.0, 1.0], [0.5**0.5, 0.5**0.5]]))
