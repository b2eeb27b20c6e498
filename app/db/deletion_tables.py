"""The table of deletions: one row for each thing that was deleted, under the id that the thing had."""

from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.tables import Identified, Table, listed
from app.db.types import Json
from app.domain.deletions import DeletedKind, DeletionReason, Removed


class Deletion(Identified, Table):
    """A deletion and how far it is. It holds ids, counts and times, and nothing of what was deleted.

    It belongs to the user who asked for it: for a deleted user, an admin. Objects name it by their `deletion_id`.
    """

    __tablename__ = "deletions"
    __table_args__ = (
        Index("deletions_incomplete", "id", postgresql_where=text("completed_at IS NULL")),
        listed("deletions"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[DeletedKind]
    reason: Mapped[DeletionReason] = mapped_column(default=DeletionReason.REQUEST)
    removed: Mapped[Removed] = mapped_column(Json(TypeAdapter[Removed](Removed)), default_factory=Removed)
    purged_at: Mapped[datetime | None] = mapped_column(default=None)
    completed_at: Mapped[datetime | None] = mapped_column(default=None)
