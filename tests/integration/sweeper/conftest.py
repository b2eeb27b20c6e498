"""The sweeper's tests are about what jobs leave behind, so they share the world of the job path."""

from tests.integration.worker.conftest import world

__all__ = ["world"]
