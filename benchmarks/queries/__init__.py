"""How long the queries of every process take on tables of a million rows: `python -m benchmarks.queries`."""
