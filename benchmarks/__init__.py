"""Measurements that are too long for tests: each is one command, and says what it measured and how surely."""
