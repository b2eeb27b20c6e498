"""What is accepted with a warning: pictures that teach little, prompts that mean something else

Revision: 0015, after 0014, of 2026-11-28 12:45:00.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The default stays: the release before writes rows without it.
    for table in ("concepts", "generations"):
        op.add_column(table, sa.Column("warnings", postgresql.JSONB(), nullable=False, server_default="[]"))


def downgrade() -> None:
    for table in ("generations", "concepts"):
        op.drop_column(table, "warnings")
