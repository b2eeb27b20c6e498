"""What a deletion has removed, told in numbers: a report must not keep what it says is gone."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from app.domain.base import Value


class DeletedKind(StrEnum):
    """What was deleted."""

    CONCEPT = "concept"
    LINEAGE = "lineage"
    GENERATION = "generation"
    EVALUATION = "evaluation"
    USER = "user"


class DeletionReason(StrEnum):
    """Who wanted it: somebody by a DELETE, or the operator's retention setting."""

    REQUEST = "request"
    RETENTION = "retention"


class ObjectTally(Value):
    """So many objects of one kind, and their bytes together."""

    count: int
    bytes: int

    def plus(self, other: "ObjectTally") -> "ObjectTally":
        """Both together."""
        return ObjectTally(count=self.count + other.count, bytes=self.bytes + other.bytes)


class Removed(Value):
    """What is gone so far: rows by what they were, objects by their kind."""

    rows: dict[str, int] = Field(default_factory=dict)
    objects: dict[str, ObjectTally] = Field(default_factory=dict)

    def with_rows(self, more: Mapping[str, int]) -> "Removed":
        """With these rows too; what there was none of is not told."""
        names = [name for name in {**self.rows, **more} if self.rows.get(name, 0) + more.get(name, 0)]
        rows = {name: self.rows.get(name, 0) + more.get(name, 0) for name in names}
        return Removed(rows=rows, objects=self.objects)

    def with_objects(self, kind: str, more: ObjectTally) -> "Removed":
        """With these objects too."""
        before = self.objects.get(kind, ObjectTally(count=0, bytes=0))
        return Removed(rows=self.rows, objects={**self.objects, kind: before.plus(more)})
