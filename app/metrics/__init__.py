"""What each process counts and times, for Prometheus. Never labelled by user or lineage: such labels have no bound."""
