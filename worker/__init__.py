"""The Celery workers: training, generation and evaluation of lineages."""
