"""Alembic migrations, installed as a package so that `palimpsest migrate` works from anywhere."""
