"""Postgres, Redis and S3 on one machine, from wheels; and the processes that `palimpsest up` supervises."""
