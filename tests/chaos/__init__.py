"""The chaos harness: real processes, a seeded schedule of faults, and a checker that reads the history afterwards."""
