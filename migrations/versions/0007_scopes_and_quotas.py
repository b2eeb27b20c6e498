"""Scopes and paces of keys, quotas of users

Revision: 0007, after 0002, of 2026-11-23 16:05:00.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Keys that are there keep their powers: all that their user may do.
    op.add_column("api_keys", sa.Column("scope", sa.String(length=32), nullable=False, server_default="write"))
    op.execute("UPDATE api_keys SET scope = 'admin' FROM users WHERE users.id = user_id AND users.is_admin")
    op.alter_column("api_keys", "scope", server_default=None)
    op.add_column("api_keys", sa.Column("paced_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("users", sa.Column("quotas", postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("users", "quotas")
    op.drop_column("api_keys", "paced_until")
    op.drop_column("api_keys", "scope")
