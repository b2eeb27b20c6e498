"""Columns that hold pydantic values as JSONB."""

from typing import Any, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Dialect
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator

T = TypeVar("T")


class Json(TypeDecorator[T]):
    """A JSONB column of one pydantic type, validated on the way in and out; a Python None is an SQL null.

    On the way out a field that is not known is left out: a later release may have written it, and this one runs beside.
    """

    impl = JSONB(none_as_null=True)
    cache_ok = True

    def __init__(self, adapter: TypeAdapter[T]) -> None:
        super().__init__()
        self.adapter = adapter

    def process_bind_param(self, value: T | None, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else self.adapter.dump_python(value, mode="json")

    def process_result_value(self, value: Any | None, dialect: Dialect) -> T | None:  # noqa: ARG002
        return None if value is None else self.adapter.validate_python(value, extra="ignore")
