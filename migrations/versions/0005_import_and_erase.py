"""Import adapters

Revision: 0005, after 0008, of 2026-11-23 15:40:00.
"""

import sqlalchemy as sa
from alembic import op

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
    op.drop_index("jobs_one_running_train_per_lineage", table_name="jobs")
    op.create_index(
        "jobs_one_publishing_per_lineage",
        "jobs",
        ["lineage_id"],
        unique=True,
        postgresql_where=sa.text("kind IN ('train', 'import') AND status = 'running'"),
    )


def downgrade() -> None:
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
