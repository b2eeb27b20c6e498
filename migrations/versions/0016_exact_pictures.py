"""Pictures that are drawn alone, for their bits

Revision: 0016, after 0015, of 2026-11-28 13:25:00.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Those of before were all drawn so.
    op.add_column("generations", sa.Column("exact", sa.Boolean(), nullable=False, server_default=sa.true()))
    # The release before writes rows without it.
    op.alter_column("generations", "exact", server_default=sa.false())


def downgrade() -> None:
    op.drop_column("generations", "exact")
