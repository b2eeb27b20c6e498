"""The checker's own tests act on the world of the job path's."""

from tests.integration.worker.conftest import world

__all__ = ["world"]
