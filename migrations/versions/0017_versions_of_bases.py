"""The versions of base models, and lineages that may use changed weights

Revision: 0017, after 0016, of 2026-11-28 12:30:00.

What is called `icons-64` keeps its name and its lineages; which weights those were taught on is in their provenance.
The next start registers the version that is there, and the name becomes its alias for new lineages.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("alias", "fingerprint", "found_fingerprint"):
        op.add_column("base_models", sa.Column(name, sa.String()))
    # The default stays: the release before writes rows without it.
    op.add_column("lineages", sa.Column("allow_changed_base", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("lineages", "allow_changed_base")
    for name in ("found_fingerprint", "fingerprint", "alias"):
        op.drop_column("base_models", name)
