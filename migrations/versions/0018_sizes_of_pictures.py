"""The width and height of pictures

Revision: 0018, after 0017, of 2026-11-28 12:45:00.

What was drawn before has the base model's own size.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_OWN_SIZE = """
    UPDATE generations SET width = side, height = side
    FROM (
        SELECT lineages.id, (base_models.manifest ->> 'resolution')::integer AS side
        FROM lineages JOIN base_models ON base_models.name = lineages.base_model
    ) AS own
    WHERE own.id = generations.lineage_id AND side IS NOT NULL
"""


def upgrade() -> None:
    for side in ("width", "height"):
        op.add_column("generations", sa.Column(side, sa.Integer(), nullable=False, server_default=sa.text("64")))
    op.execute(_OWN_SIZE)
    for side in ("width", "height"):
        op.alter_column("generations", side, server_default=None)


def downgrade() -> None:
    op.drop_column("generations", "height")
    op.drop_column("generations", "width")
