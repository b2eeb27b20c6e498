"""Long tests, run on demand: minutes each, on real services. `make test` holds a short run of the same code."""
