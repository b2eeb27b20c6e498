"""An index of when a job of each user and kind last began: turns are taken by user, then by kind

Revision: 0020, after 0019, of 2026-11-28 18:30:00.
"""

from migrations.online import create_index, drop_index

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index("jobs_turns_of_kinds", "jobs", ("user_id", "kind", "started_at"))


def downgrade() -> None:
    drop_index("jobs_turns_of_kinds", "jobs")
