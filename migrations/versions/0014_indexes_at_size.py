"""Indexes for a million rows: of lists, tombstones, the queue, what runs, and what grows old

Revision: 0014, after 0013, of 2026-11-28 13:00:00.
"""

from typing import Any

import sqlalchemy as sa

from migrations.online import create_index, drop_index

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_LISTED = ("api_keys", "concepts", "lineages", "generations", "evaluations", "deletions", "jobs")
_TOMBSTONES = ("users", "lineages", "generations", "evaluations")


def _where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": sa.text(condition)}


_NEW: tuple[tuple[str, str, tuple[str, ...], dict[str, Any]], ...] = (
    *((f"{table}_listed", table, ("user_id", "created_at", "id"), {}) for table in _LISTED),
    ("users_listed", "users", ("created_at", "id"), {}),
    *((f"{table}_tombstones", table, ("id",), _where("deleted_at IS NOT NULL")) for table in _TOMBSTONES),
    ("concepts_tombstones", "concepts", ("id",), _where("deleted_at IS NOT NULL AND purged_at IS NULL")),
    ("objects_of_user", "objects", ("user_id",), {"postgresql_include": ["size_bytes"]}),
    ("jobs_queue", "jobs", ("user_id", "kind", "seq"), _where("status = 'queued'")),
    ("jobs_running", "jobs", ("lease_expires_at",), _where("status = 'running'")),
    ("jobs_drawn", "jobs", ("finished_at",), _where("generation_id IS NOT NULL")),
    ("spent_times_started_at", "spent_times", ("started_at",), {}),
)
_OLD: tuple[tuple[str, str, tuple[str, ...], dict[str, Any]], ...] = (
    *((f"ix_{table}_created_at", table, ("created_at",), {}) for table in (*_LISTED, "users", "objects", "versions")),
    *(
        (f"ix_{table}_user_id", table, ("user_id",), {})
        for table in ("api_keys", "lineages", "generations", "evaluations", "deletions", "jobs", "objects")
    ),
    ("jobs_queued_of_user", "jobs", ("user_id", "seq"), _where("status = 'queued'")),
)


def upgrade() -> None:
    for name, table, columns, options in _NEW:
        create_index(name, table, columns, **options)
    for name, table, _, _ in _OLD:
        drop_index(name, table)


def downgrade() -> None:
    for name, table, columns, options in _OLD:
        create_index(name, table, columns, **options)
    for name, table, _, _ in _NEW:
        drop_index(name, table)
