"""Evaluations

Revision: 0006, after 0005, of 2026-11-23 15:58:00.

Taken back, evaluations are gone, and their objects are left to the collector.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_BORN = sa.text("clock_timestamp()")


def upgrade() -> None:
    # By a default, which writes no row: an update after that of 0003 would check the row's keys again.
    op.add_column("lineages", sa.Column("evaluation", postgresql.JSONB(), nullable=False, server_default="{}"))
    op.alter_column("lineages", "evaluation", server_default=None)
    op.create_table(
        "evaluations",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("lineage_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("concept_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("protocol", postgresql.JSONB(), nullable=False),
        sa.Column("isolated", sa.Boolean(), nullable=False),
        sa.Column("result", postgresql.JSONB(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_BORN, nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["lineage_id"], ["lineages.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("created_at", "user_id", "lineage_id", "version_id", "job_id"):
        op.create_index(f"ix_evaluations_{column}", "evaluations", [column], unique=False)
    op.create_table(
        "evaluation_files",
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["evaluation_id"], ["evaluations.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["object_id"], ["objects.id"]),
        sa.PrimaryKeyConstraint("evaluation_id", "name"),
    )
    op.create_index("ix_evaluation_files_object_id", "evaluation_files", ["object_id"], unique=False)
    op.create_table(
        "evaluation_memos",
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["object_id"], ["objects.id"]),
        sa.PrimaryKeyConstraint("version_id", "key"),
    )
    op.create_index("ix_evaluation_memos_object_id", "evaluation_memos", ["object_id"], unique=False)


def downgrade() -> None:
    op.execute("UPDATE objects SET status = 'dead' WHERE kind = 'evaluations'")
    op.drop_table("evaluation_memos")
    op.drop_table("evaluation_files")
    op.drop_table("evaluations")
    op.drop_column("lineages", "evaluation")
