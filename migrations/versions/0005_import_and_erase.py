"""Import adapters, erase concepts

Revision: 0005, after 0008, of 2026-11-23 15:40:00.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("input_object_id", sa.Uuid(), nullable=True))
    op.create_foreign_key("jobs_input_object_id_fkey", "jobs", "objects", ["input_object_id"], ["id"])
    op.create_index(
        "jobs_input",
        "jobs",
        ["input_object_id"],
        unique=False,
        postgresql_where=sa.text("input_object_id IS NOT NULL"),
    )
    op.create_table(
        "erasure_drafts",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("adapter_object_id", sa.Uuid(), nullable=False),
        sa.Column("strategy_state_object_id", sa.Uuid(), nullable=True),
        sa.Column("provenance", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["adapter_object_id"], ["objects.id"]),
        sa.ForeignKeyConstraint(["strategy_state_object_id"], ["objects.id"]),
        sa.PrimaryKeyConstraint("job_id", "version_id"),
    )
    op.create_index("ix_erasure_drafts_adapter_object_id", "erasure_drafts", ["adapter_object_id"], unique=False)
    op.create_index(
        "ix_erasure_drafts_strategy_state_object_id", "erasure_drafts", ["strategy_state_object_id"], unique=False
    )
    op.create_table(
        "erased_versions",
        sa.Column("lineage_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(), nullable=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["lineage_id"], ["lineages.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("lineage_id", "number"),
    )
    op.drop_index("jobs_one_running_train_per_lineage", table_name="jobs")
    op.create_index(
        "jobs_one_publishing_per_lineage",
        "jobs",
        ["lineage_id"],
        unique=True,
        postgresql_where=sa.text("kind IN ('train', 'import', 'erase') AND status = 'running'"),
    )


def downgrade() -> None:
    op.drop_table("erased_versions")
    op.drop_table("erasure_drafts")
    op.drop_index("jobs_one_publishing_per_lineage", table_name="jobs")
    op.create_index(
        "jobs_one_running_train_per_lineage",
        "jobs",
        ["lineage_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'train' AND status = 'running'"),
    )
    op.drop_index("jobs_input", table_name="jobs")
    op.drop_constraint("jobs_input_object_id_fkey", "jobs", type_="foreignkey")
    op.drop_column("jobs", "input_object_id")
