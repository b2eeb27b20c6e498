"""Field by field, nothing that differs is left out, and nothing else is told."""

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from app.domain.comparison import differences, facts_of
from app.domain.strategies import MergeOptions, OrthogonalMergeOptions
from app.domain.training import TrainingOptions

VALUES: st.SearchStrategy[JsonValue] = st.sampled_from([None, 0, 7, 0.5, "cpu", ["a", "b"], []])
FACTS = st.dictionaries(st.sampled_from(["seed", "machine.device", "training.rank", "images"]), VALUES)


@given(FACTS, FACTS)
def test_the_differences_lead_from_one_to_the_other(before: dict[str, JsonValue], after: dict[str, JsonValue]) -> None:
    found = differences(before, after)
    patched = before | {difference.field: difference.to_value for difference in found}
    for field in before.keys() | after.keys():
        assert patched.get(field) == after.get(field)
    assert all(difference.from_value == before.get(difference.field) != difference.to_value for difference in found)
    assert [difference.field for difference in found] == sorted({difference.field for difference in found})


def test_the_base_has_no_facts_and_options_have_dotted_names() -> None:
    assert facts_of(None, None, None) == {}
    found = differences(
        facts_of(MergeOptions(), TrainingOptions(rank=4), None),
        facts_of(OrthogonalMergeOptions(), TrainingOptions(rank=8, alpha=2.0), None),
    )
    changed = {difference.field: (difference.from_value, difference.to_value) for difference in found}
    assert changed["strategy.name"] == ("merge", "orthogonal_merge")
    assert changed["training.rank"] == (4, 8)
    assert changed["training.alpha"] == (None, 2.0)
    assert "training.steps" not in changed
    # Null on the side of a strategy that has no such option.
    assert changed["strategy.basis"][0] is None
