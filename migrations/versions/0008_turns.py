"""Index whose turn it is

Revision: 0008, after 0004, of 2026-11-23 16:38:00.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("jobs_turns", "jobs", ["user_id", "started_at"])
    op.create_index("jobs_queued_of_user", "jobs", ["user_id", "seq"], postgresql_where=sa.text("status = 'queued'"))


def downgrade() -> None:
    op.drop_index("jobs_queued_of_user", table_name="jobs", postgresql_where=sa.text("status = 'queued'"))
    op.drop_index("jobs_turns", table_name="jobs")
