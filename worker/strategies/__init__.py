"""The continual strategies' algorithms, one file each; their options are in `app.domain.strategies`."""
