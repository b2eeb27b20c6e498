"""The base class of every typed value that crosses a boundary (HTTP body, JSONB column, object metadata)."""

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """An immutable value; an unknown field is an error, so that a misspelt option is never silently ignored."""

    # Errors hide what they reject: it may be a prompt, and errors are logged.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
