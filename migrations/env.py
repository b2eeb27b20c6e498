"""Alembic's environment: migrate over the connection that `app.db.migrate` hands in."""

from alembic import context

from app.db.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    compare_server_default=True,
    # Each migration is committed by itself: what builds indexes beside the running service needs no transaction.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
