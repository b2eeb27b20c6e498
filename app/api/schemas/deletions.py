"""Bodies of deletions' reports."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from app.api.schemas.base import PageBody, example, page_example
from app.api.schemas.examples import DELETION_ID, LATER, THEN
from app.db.deletion_tables import Deletion
from app.domain.base import Value
from app.domain.deletions import DeletedKind, DeletionReason, ObjectTally


class DeletionBody(Value):
    """A deletion: how far it is, and how much is gone."""

    model_config = example(
        {
            "id": DELETION_ID,
            "kind": "lineage",
            "reason": "request",
            "created_at": THEN,
            "purged_at": LATER,
            "completed_at": LATER,
            "rows": {"lineages": 1, "versions": 2, "jobs": 3, "generations": 1},
            "objects": {"adapters": {"count": 2, "bytes": 524_288}, "pictures": {"count": 4, "bytes": 61_440}},
        }
    )

    id: UUID = Field(description="That of what was deleted.")
    kind: DeletedKind
    reason: DeletionReason = Field(description="`retention`: the operator keeps such things only so long.")
    created_at: datetime = Field(description="From then on it was hidden.")
    purged_at: datetime | None = Field(description="When its rows were gone; null while a job of it still runs.")
    completed_at: datetime | None = Field(description="When its last object was gone from the object storage.")
    rows: dict[str, int] = Field(description="How many are gone so far.")
    objects: dict[str, ObjectTally] = Field(description="How many are gone so far, and their bytes, by kind.")

    @classmethod
    def of(cls, deletion: Deletion) -> "DeletionBody":
        """The body of a row."""
        return cls(
            id=deletion.id,
            kind=deletion.kind,
            reason=deletion.reason,
            created_at=deletion.created_at,
            purged_at=deletion.purged_at,
            completed_at=deletion.completed_at,
            rows=deletion.removed.rows,
            objects=deletion.removed.objects,
        )


class DeletionPage(PageBody[DeletionBody]):
    """A page of deletions."""

    model_config = page_example(DeletionBody)
