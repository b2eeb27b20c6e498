"""Lists: newest first, in pages, with a cursor that names the last row seen."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar, TypeVarTuple
from uuid import UUID

from sqlalchemy import Row, Select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.deletion_tables import Deletion
from app.db.evaluation_tables import Evaluation
from app.db.tables import ApiKey, Concept, Generation, Job, Lineage, User, Version
from app.domain.errors import Fault, InvalidInputError

T = TypeVar("T")
U = TypeVar("U")
Ts = TypeVarTuple("Ts")

E = TypeVar("E", ApiKey, Concept, Deletion, Evaluation, Generation, Job, Lineage, User, Version)


@dataclass(frozen=True)
class Cursor:
    """The last row of a page. Opaque to clients, so that the order may change one day."""

    created_at: datetime
    id: UUID

    def encode(self) -> str:
        """The text that clients pass back."""
        return base64.urlsafe_b64encode(f"{self.created_at.isoformat()} {self.id}".encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """The cursor that `encode` made.

        Raises:
            InvalidInputError: it is not one of ours.
        """
        try:
            padded = text + "=" * (-len(text) % 4)
            created_at, _, id_ = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition(" ")
            cursor = cls(datetime.fromisoformat(created_at), UUID(id_))
        except (ValueError, binascii.Error) as error:
            raise _not_a_cursor() from error
        if cursor.created_at.tzinfo is None:
            raise _not_a_cursor()
        return cursor


def _not_a_cursor() -> InvalidInputError:
    fault = Fault(field="cursor", message="not a cursor that this API gave")
    return InvalidInputError("Pass `next_cursor` of the previous page as it is, or leave it out.", (fault,))


@dataclass(frozen=True)
class Window:
    """Which page is asked for."""

    limit: int
    after: Cursor | None


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list."""

    items: Sequence[T]
    next_cursor: str | None

    def map(self, convert: Callable[[T], U]) -> "Page[U]":
        """The same page of something else."""
        return Page([convert(item) for item in self.items], self.next_cursor)


async def fetch_page(
    session: AsyncSession, query: Select[E, *Ts], entity: type[E], window: Window
) -> Page[Row[E, *Ts]]:
    """One page of the query, whose first column is `entity`."""
    query = query.order_by(entity.created_at.desc(), entity.id.desc()).limit(window.limit + 1)
    if window.after is not None:
        query = query.where(tuple_(entity.created_at, entity.id) < (window.after.created_at, window.after.id))
    rows = (await session.execute(query)).all()
    items = rows[: window.limit]
    if len(rows) <= window.limit:
        return Page(items, None)
    last: E = items[-1][0]
    return Page(items, Cursor(last.created_at, last.id).encode())
