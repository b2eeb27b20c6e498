"""Names and algorithms are the same set, and every strategy tells users what it is."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from app.domain.chains import first_choice
from app.domain.strategies import STRATEGIES, AnyStrategy, Fold, IsolatedOptions, MergeOptions
from worker.strategies.registry import ALGORITHMS, strategy_of

DOCS = Path(__file__).parents[4] / "docs" / "strategies.md"


def test_every_strategy_has_an_algorithm_and_no_algorithm_lacks_options() -> None:
    assert ALGORITHMS.keys() == STRATEGIES.keys()


@pytest.mark.parametrize("name", STRATEGIES)
def test_each_algorithm_takes_the_options_of_its_name(name: str) -> None:
    options = STRATEGIES[name]()
    algorithm = strategy_of(options)
    assert algorithm.options == options  # type: ignore[attr-defined]
    assert type(algorithm).__name__.lower() == name.replace("_", "")


@pytest.mark.parametrize("name", STRATEGIES)
def test_its_options_come_back_from_json(name: str) -> None:
    options = STRATEGIES[name]()
    adapter: TypeAdapter[AnyStrategy] = TypeAdapter(AnyStrategy)
    assert adapter.validate_python({"name": name}) == options
    assert adapter.validate_json(adapter.dump_json(options)) == options


@pytest.mark.parametrize("name", STRATEGIES)
def test_it_describes_itself(name: str) -> None:
    options = STRATEGIES[name]
    assert re.search(r"arXiv \d{4}\.\d{5}", options.info.source)
    for text in (options.info.summary, options.info.cost):
        assert re.fullmatch(r"[A-Z].{20,}\.", text)
    assert isinstance(options.fold, Fold)
    assert isinstance(options.fixed_within_run, tuple)


def test_prompts_choose_among_the_last_run_of_isolated_versions() -> None:
    merge, isolated = MergeOptions(), IsolatedOptions()
    assert first_choice([]) == 0
    assert first_choice([merge, merge]) == 2
    assert first_choice([isolated, isolated]) == 0
    assert first_choice([isolated, merge, isolated, isolated]) == 2
    assert first_choice([isolated, merge]) == 2


def is_bounded(option: dict[str, Any]) -> bool:
    """Whether a JSON schema allows only a choice, a yes or no, or a number between two bounds."""
    if option["type"] in ("integer", "number"):
        return ("minimum" in option or "exclusiveMinimum" in option) and "maximum" in option
    return option["type"] == "boolean" or "enum" in option


@pytest.mark.parametrize("name", STRATEGIES)
def test_its_schema_says_what_each_option_means_and_allows(name: str) -> None:
    schema = STRATEGIES[name].model_json_schema()
    assert schema["additionalProperties"] is False
    assert schema["properties"].pop("name")["const"] == name
    for option in schema["properties"].values():
        resolved = schema["$defs"][option["$ref"].rsplit("/", 1)[-1]] | option if "$ref" in option else option
        assert resolved["description"].endswith(".")
        assert is_bounded(resolved)
        assert "default" in resolved


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_documents_have_a_section_on_it_that_names_its_options(name: str) -> None:
    sections = re.split(r"^#+ ", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    section = next((text for text in sections if re.match(rf"`?{name}\b", text)), "")
    assert len(section) > 500
    assert all(f"`{option}`" in section for option in STRATEGIES[name].model_fields if option != "name")
    assert all(f"\n*{said}" in section for said in ("Idea.", "Formula.", "Stores", "Costs", "Use it", "Do not"))


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_documents_table_tells_what_it_starts_from_and_how_it_exports(name: str) -> None:
    (row,) = re.findall(rf"^\| `{name}` \|(.*)\|$", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(row.split(" | ")) == 4
