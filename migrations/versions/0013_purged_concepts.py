"""Remember of a deleted concept that its images are gone

Revision: 0013, after 0012, of 2026-11-28 12:55:00.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("concepts", sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("concepts", "purged_at")
