"""The base class of every typed value that crosses a boundary (HTTP body, JSONB column, object metadata)."""

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """An immutable value; an unknown field is an error, so that a misspelt option is never silently ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")
