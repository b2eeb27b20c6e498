"""How fast each user asks, over all front ends

Revision: 0019, after 0018, of 2026-11-28 14:05:00.

The table is unlogged: a crash forgets the last moments of it, and nothing is written twice. `api_keys.paced_until`,
where the release before counts, stays for as long as that one may still run.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "paces",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id"),
        prefixes=["UNLOGGED"],
    )


def downgrade() -> None:
    op.drop_table("paces")
