"""Rows, transactions and queries over Postgres, for the front end (async) and the worker (sync)."""
