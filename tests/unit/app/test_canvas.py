"""The sizes of pictures: what a base model's manifest allows."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.domain.base_models import BaseModelManifest

BASE: dict[str, Any] = {"name": "tiny", "family": "sd", "resolution": 64, "rare_tokens": ["zqa"]}
WIDE = {"min_side": 64, "max_side": 128, "multiple": 32}


def test_without_a_canvas_there_is_one_size() -> None:
    manifest = BaseModelManifest.model_validate(BASE)
    assert manifest.size_faults(64, 64) == ()
    assert not manifest.is_wide
    assert [fault.field for fault in manifest.size_faults(128, 64)] == ["width"]
    assert [fault.field for fault in manifest.size_faults(56, 72)] == ["width", "height"]


@pytest.mark.parametrize(
    ("width", "height", "faulty"),
    [
        (64, 64, []),
        (128, 64, []),
        (96, 128, []),
        (160, 64, ["width"]),
        (64, 32, ["height"]),
        (72, 80, ["width", "height"]),
    ],
)
def test_a_canvas_has_bounds_and_steps(width: int, height: int, faulty: list[str]) -> None:
    manifest = BaseModelManifest.model_validate({**BASE, "canvas": WIDE})
    assert manifest.is_wide
    assert [fault.field for fault in manifest.size_faults(width, height)] == faulty


@pytest.mark.parametrize(
    "changes",
    [
        {"canvas": {"min_side": 128, "max_side": 64}},
        {"canvas": {"min_side": 96, "max_side": 128}},
        {"canvas": {"min_side": 64, "max_side": 128, "multiple": 12}},
        {"evaluation": {"composition": {"width": 128, "height": 64}}},
        {"canvas": WIDE, "evaluation": {"composition": {"width": 256, "height": 64}}},
        {"canvas": WIDE, "evaluation": {"composition": {"template": "a {first}", "width": 128, "height": 64}}},
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BaseModelManifest.model_validate({**BASE, **changes})


def test_a_wide_base_may_be_asked_for_two_things() -> None:
    evaluation = {"composition": {"width": 128, "height": 64}}
    manifest = BaseModelManifest.model_validate({**BASE, "canvas": WIDE, "evaluation": evaluation})
    assert manifest.evaluation.composition is not None
