"""A train job, and what a gate decides of its version."""
