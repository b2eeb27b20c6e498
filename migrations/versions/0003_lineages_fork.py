"""Lineages fork

Revision: 0003, after 0007, of 2026-11-23 15:36:12.418205.

Taken back, a branch keeps its own versions and shows no others.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lineages", sa.Column("forked_from_version_id", sa.Uuid(), nullable=True))
    op.add_column("lineages", sa.Column("next_number", sa.Integer(), nullable=True))
    op.execute(
        "UPDATE lineages SET next_number ="
        " (SELECT 1 + coalesce(max(number), 0) FROM versions WHERE versions.lineage_id = lineages.id)"
    )
    op.alter_column("lineages", "next_number", nullable=False)
    op.create_foreign_key(
        "lineages_forked_from_version_id_fkey", "lineages", "versions", ["forked_from_version_id"], ["id"]
    )
    op.create_index("ix_lineages_forked_from_version_id", "lineages", ["forked_from_version_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_lineages_forked_from_version_id", table_name="lineages")
    op.drop_constraint("lineages_forked_from_version_id_fkey", "lineages", type_="foreignkey")
    op.drop_column("lineages", "next_number")
    op.drop_column("lineages", "forked_from_version_id")
