"""Deletions, and which job and which deletion an object belongs to

Revision: 0009, after 0006, of 2026-11-25 12:45:00.

Taken back, the reports of deletions are gone; what is to be collected is collected all the same.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0006"
branch_labels = None
depends_on = None

_BORN = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.create_table(
        "deletions",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("removed", postgresql.JSONB(), nullable=False),
        sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_BORN, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_deletions_created_at", "deletions", ["created_at"])
    op.create_index("ix_deletions_user_id", "deletions", ["user_id"])
    op.create_index("deletions_incomplete", "deletions", ["id"], postgresql_where=sa.text("completed_at IS NULL"))
    op.add_column("objects", sa.Column("job_id", sa.Uuid(), nullable=True))
    op.add_column("objects", sa.Column("deletion_id", sa.Uuid(), nullable=True))
    op.create_index(
        "objects_of_deletion", "objects", ["deletion_id"], postgresql_where=sa.text("deletion_id IS NOT NULL")
    )
    op.create_index("objects_unpublished", "objects", ["job_id"], postgresql_where=sa.text("status = 'pending'"))


def downgrade() -> None:
    op.drop_index("objects_unpublished", table_name="objects")
    op.drop_index("objects_of_deletion", table_name="objects")
    op.drop_column("objects", "deletion_id")
    op.drop_column("objects", "job_id")
    op.drop_table("deletions")
