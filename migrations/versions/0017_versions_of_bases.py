"""The versions of base models, and lineages that may use changed weights

Revision: 0017, after 0016, of 2026-11-28 12:30:00.

What was called `icons-64` becomes `icons-64.0`: which weights it had is in the provenance of what was taught on it. The
name is an alias from now on, of the version that the next start registers.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("base_models", sa.Column("alias", sa.String()))
    op.add_column("base_models", sa.Column("fingerprint", sa.String()))
    op.add_column("base_models", sa.Column("found_fingerprint", sa.String()))
    op.add_column("lineages", sa.Column("allow_changed_base", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.alter_column("lineages", "allow_changed_base", server_default=None)
    _rename("icons-64", "icons-64.0", alias="'icons-64'")


def downgrade() -> None:
    for (name,) in op.get_bind().execute(sa.text("SELECT name FROM base_models WHERE alias = 'icons-64'")).all():
        _rename(name, "icons-64", alias="NULL")
    op.drop_column("lineages", "allow_changed_base")
    op.drop_column("base_models", "found_fingerprint")
    op.drop_column("base_models", "fingerprint")
    op.drop_column("base_models", "alias")


def _rename(old: str, new: str, alias: str) -> None:
    """The row under another name, with all that stands on it."""
    names = {"old": old, "new": new}
    copied = (
        "INSERT INTO base_models (name, source, manifest, created_at, alias) "  # noqa: S608 - a constant of this file
        f"SELECT :new, source, manifest, created_at, {alias} FROM base_models WHERE name = :old "
        "ON CONFLICT (name) DO NOTHING"
    )
    for statement in (
        copied,
        "UPDATE lineages SET base_model = :new WHERE base_model = :old",
        "UPDATE jobs SET base_model = :new WHERE base_model = :old",
        "DELETE FROM base_models WHERE name = :old",
    ):
        op.get_bind().execute(sa.text(statement), names)
