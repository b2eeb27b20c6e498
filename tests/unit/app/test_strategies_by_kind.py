"""What a lineage follows: one strategy for everything, or one for each kind of concept."""

import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from app.domain.concepts import ConceptKind
from app.domain.strategies import STRATEGIES, MagnitudeOptions, MergeOptions, SelfReplayOptions
from app.domain.strategies_by_kind import FOLLOWED, ByKindOptions, FollowedOptions, FollowedStrategy, strategy_for

DOCS = Path(__file__).parents[3] / "docs" / "strategies.md"
ADAPTER: TypeAdapter[FollowedOptions] = TypeAdapter(FollowedStrategy)


def test_each_kind_has_its_own() -> None:
    followed = ByKindOptions(objects=MergeOptions(), styles=MagnitudeOptions())
    assert strategy_for(ConceptKind.OBJECT, followed) == MergeOptions()
    assert strategy_for(ConceptKind.STYLE, followed) == MagnitudeOptions()


@pytest.mark.parametrize("kind", ConceptKind)
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_is_for_every_kind(kind: ConceptKind, name: str) -> None:
    options = STRATEGIES[name]()
    assert strategy_for(kind, options) is options


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_is_followed_comes_back_from_json(name: str) -> None:
    options = FOLLOWED[name]()
    assert ADAPTER.validate_python({"name": name}) == options
    assert ADAPTER.validate_json(ADAPTER.dump_json(options)) == options


def test_what_is_left_out_is_the_default_of_its_kind() -> None:
    followed = ADAPTER.validate_python({"name": "by_kind", "objects": {"name": "self_replay", "mu": 0}})
    assert followed == ByKindOptions(objects=SelfReplayOptions(mu=0), styles=MergeOptions())


def test_none_follows_a_choice_within_a_choice() -> None:
    with pytest.raises(ValidationError, match="by_kind"):
        ADAPTER.validate_python({"name": "by_kind", "objects": {"name": "by_kind"}})


def test_it_tells_what_it_is_and_what_its_options_mean() -> None:
    for text in (ByKindOptions.info.summary, ByKindOptions.info.cost):
        assert re.fullmatch(r"[A-Z].{20,}\.", text)
    options = ByKindOptions.model_json_schema()["properties"]
    assert options.keys() == {"name", "objects", "styles"}
    assert all(options[name]["description"].endswith(".") for name in ("objects", "styles"))
    (section,) = re.findall(r"^## `by_kind`.*?(?=^## )", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert all(f'"{name}"' in section for name in ("by_kind", "objects", "styles"))
