"""Upkeep in a process of its own: lost leases, lost wake-ups, and what is to be removed. It knows no torch."""
