"""What a migration does while the service runs: each step holds its locks for a moment only (docs/operations.md).

These steps commit one by one. A migration of such steps does nothing else, so that it can begin again after a fault.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op

_BATCH = 10_000


def create_index(name: str, table: str, columns: Sequence[str], **options: Any) -> None:
    """Build an index while others write. One that an earlier try has left unfinished is built again."""
    with _waiting_for_others():
        op.drop_index(name, table_name=table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, list(columns), postgresql_concurrently=True, **options)


def drop_index(name: str, table: str) -> None:
    """Drop an index while others read and write."""
    with _waiting_for_others():
        op.drop_index(name, table_name=table, if_exists=True, postgresql_concurrently=True)


def create_foreign_key(name: str, source: str, target: str, column: str, **options: Any) -> None:
    """Add a key, and check the rows that are there afterwards, while others write."""
    with op.get_context().autocommit_block():
        op.drop_constraint(name, source, type_="foreignkey", if_exists=True)
        op.create_foreign_key(name, source, target, [column], ["id"], postgresql_not_valid=True, **options)
        op.execute(f'ALTER TABLE "{source}" VALIDATE CONSTRAINT "{name}"')


def update_in_batches(statement: str, table: str, key: str) -> None:
    """Run an UPDATE of `table` in ranges of `key`, a number that the statement bounds by `:first` and `:last`."""
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        last = connection.scalar(sa.select(sa.func.max(sa.column(key))).select_from(sa.table(table))) or 0
        for first in range(0, last + 1, _BATCH):
            connection.execute(sa.text(statement), {"first": first, "last": first + _BATCH - 1})


@contextmanager
def _waiting_for_others() -> Iterator[None]:
    """What is done concurrently waits for older transactions to end, and holds up nobody meanwhile."""
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        limit = connection.scalar(sa.text("SHOW lock_timeout"))
        connection.execute(sa.text("SET lock_timeout = 0"))
        yield
        connection.execute(sa.text("SELECT set_config('lock_timeout', :limit, false)"), {"limit": limit})
