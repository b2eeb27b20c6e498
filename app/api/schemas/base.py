"""What all bodies have in common: examples, pages, safe texts."""

from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, StringConstraints

from app.domain.base import Value

T = TypeVar("T")


def example(value: dict[str, JsonValue]) -> ConfigDict:
    """The model configuration that carries a body's example."""
    return ConfigDict(json_schema_extra={"examples": [value]})


def example_of(schema: type[Value]) -> dict[str, JsonValue]:
    """The example that a body carries."""
    extra = schema.model_config.get("json_schema_extra")
    assert isinstance(extra, dict), f"{schema.__name__} has no example"
    examples = extra["examples"]
    assert isinstance(examples, list)
    assert isinstance(examples[0], dict)
    return examples[0]


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the character U+0000")
    return text


# Postgres stores every character but U+0000.
Text = Annotated[str, AfterValidator(_without_nul)]
Label = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(_without_nul)
]
Prompt = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_without_nul)]


class PageBody(Value, Generic[T]):
    """One page of a list, newest first."""

    items: list[T]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last one.")


def page_example(item: type[Value]) -> ConfigDict:
    """The example of a page of such items."""
    return example({"items": [example_of(item)], "next_cursor": None})
