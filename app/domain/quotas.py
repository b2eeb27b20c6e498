"""Quotas: how much one user may have at a time."""

from enum import StrEnum

from pydantic import Field

from app.domain.base import Value


class Quota(StrEnum):
    """What is limited for each user."""

    IMAGES = "images"
    LINEAGES = "lineages"
    UNFINISHED_JOBS = "unfinished_jobs"
    STORED_BYTES = "stored_bytes"
    GPU_SECONDS = "gpu_seconds"


class Quotas(Value):
    """The most of each that a user may have."""

    images: int = Field(5_000, ge=0, description="Images of concepts.")
    lineages: int = Field(200, ge=0)
    unfinished_jobs: int = Field(2_000, ge=0, description="Queued and running ones.")
    stored_bytes: int = Field(20 * 1024**3, ge=0, description="Images, pictures, adapters and checkpoints together.")
    gpu_seconds: int = Field(7 * 24 * 3600, ge=0, description="Running time of the jobs of the last 30 days.")

    def limit(self, quota: Quota) -> int:
        """The limit of one of them."""
        limit = getattr(self, quota.value)
        assert isinstance(limit, int)
        return limit


class QuotaOverrides(Value):
    """An admin's exceptions for one user; null takes the default."""

    images: int | None = Field(None, ge=0, le=2**53)
    lineages: int | None = Field(None, ge=0, le=2**53)
    unfinished_jobs: int | None = Field(None, ge=0, le=2**53)
    stored_bytes: int | None = Field(None, ge=0, le=2**53)
    gpu_seconds: int | None = Field(None, ge=0, le=2**53)

    def over(self, defaults: Quotas) -> Quotas:
        """The defaults with these exceptions."""
        return defaults.model_copy(update=self.model_dump(exclude_none=True))
