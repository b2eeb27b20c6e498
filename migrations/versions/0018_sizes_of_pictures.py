"""The width and height of pictures

Revision: 0018, after 0017, of 2026-11-28 12:45:00.

Null, as for all that was asked for before: the base model's own resolution.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for side in ("width", "height"):
        op.add_column("generations", sa.Column(side, sa.Integer()))


def downgrade() -> None:
    for side in ("height", "width"):
        op.drop_column("generations", side)
