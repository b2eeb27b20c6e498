"""Two versions' provenance beside one another, field by field."""

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from app.domain.base import Value
from app.domain.lineages import AnyProvenance
from app.domain.strategies import StrategyOptions
from app.domain.training import TrainingOptions

Facts = Mapping[str, JsonValue]
"""What a version came about by: values by dotted names; a list is one value."""


class Difference(Value):
    """One field that two versions do not share; null is the side of a version that lacks the field."""

    field: str
    from_value: JsonValue
    to_value: JsonValue


def facts_of(
    strategy: StrategyOptions | None, training: TrainingOptions | None, provenance: AnyProvenance | None
) -> Facts:
    """Every fact of a version; none of the base, which nothing was done to."""
    parts: dict[str, JsonValue] = {}
    if provenance is not None:
        parts |= provenance.model_dump(mode="json")
    if strategy is not None:
        parts["strategy"] = strategy.model_dump(mode="json")
    if training is not None:
        parts["training"] = training.model_dump(mode="json")
    return dict(_leaves("", parts))


def differences(before: Facts, after: Facts) -> tuple[Difference, ...]:
    """The fields in which the two differ, by name."""
    return tuple(
        Difference(field=field, from_value=before.get(field), to_value=after.get(field))
        for field in sorted(before.keys() | after.keys())
        if before.get(field) != after.get(field)
    )


def _leaves(name: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if not isinstance(value, dict):
        yield name, value
        return
    for key, inner in value.items():
        yield from _leaves(f"{name}.{key}" if name else key, inner)
