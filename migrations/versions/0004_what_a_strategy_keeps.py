"""What a strategy keeps for the next task

Revision: 0004, after 0003, of 2026-11-23 16:13:02.551372.

Taken back, a next task of `ewc` finds nothing to protect.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("versions", sa.Column("strategy_state_object_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        "versions_strategy_state_object_id_fkey", "versions", "objects", ["strategy_state_object_id"], ["id"]
    )
    op.create_index("ix_versions_strategy_state_object_id", "versions", ["strategy_state_object_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_versions_strategy_state_object_id", table_name="versions")
    op.drop_constraint("versions_strategy_state_object_id_fkey", "versions", type_="foreignkey")
    op.drop_column("versions", "strategy_state_object_id")
