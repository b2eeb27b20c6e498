"""The running time of jobs that went with their lineage

Revision: 0010, after 0009, of 2026-11-25 14:15:00.

Taken back, who has deleted a lineage has its time back.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "spent_times",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index("spent_times_of_user", "spent_times", ["user_id", "started_at"])


def downgrade() -> None:
    op.drop_table("spent_times")
