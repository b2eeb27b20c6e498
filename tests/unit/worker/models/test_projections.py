"""Which layers an adapter adapts."""

import pytest
from torch import nn

from app.domain.base_models import BaseModelManifest, Family
from app.domain.errors import InvalidInputError
from tests.tiny_pipelines import tiny_base
from worker.models.projections import adapted_projections, projection_shape

DEFAULT = BaseModelManifest(name="x", family=Family.SD, resolution=64, rare_tokens=("x",)).adapted_modules


def test_the_default_is_all_of_attention() -> None:
    denoiser = tiny_base().denoiser
    found = adapted_projections(denoiser, DEFAULT)
    blocks = sum(type(module).__name__ == "Attention" for module in denoiser.modules())
    assert len(found) == 4 * blocks > 0
    assert all(denoiser.get_submodule(path) is module for path, module in found.items())
    assert list(found) == sorted(found)


def test_a_convolution_is_its_flattened_kernel() -> None:
    found = adapted_projections(tiny_base().denoiser, ("conv_in",))
    assert {path: projection_shape(module) for path, module in found.items()} == {"conv_in": (16, 4 * 3 * 3)}


def test_a_name_is_the_end_of_a_path_at_a_dot() -> None:
    denoiser = nn.ModuleDict({"not_to_q": nn.Linear(2, 2), "to_q": nn.ModuleList([nn.Linear(2, 3), nn.ReLU()])})
    assert list(adapted_projections(denoiser, ("to_q.0",))) == ["to_q.0"]
    for name in ("q", "to_q", "to_q.1"):
        with pytest.raises(InvalidInputError, match=f"named {name}"):
            adapted_projections(denoiser, (name,))


def test_each_name_must_be_somewhere() -> None:
    with pytest.raises(InvalidInputError, match="named bar, foo"):
        adapted_projections(tiny_base().denoiser, ("to_q", "foo", "bar"))
