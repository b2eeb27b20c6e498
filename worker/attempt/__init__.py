"""What one attempt at a job holds: its lease, its objects, the chain of adapters, the loaded bases."""
