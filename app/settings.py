"""Every setting of every process, in one frozen object; units are in the names.

A setting comes from the environment: `PALIMPSEST_<NAME>`, or, where operators expect a common name, that one.
`database_url`, `broker_url` and the S3 address may be absent: then the embedded stack's are used (`app.stack`).
"""

from functools import lru_cache
from pathlib import Path
from typing import Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.domain.concepts import MAX_IMAGES_PER_CONCEPT
from app.domain.jobs import QUEUES, JobKind
from app.domain.patience import Patience
from app.domain.quotas import Quotas

MIB = 1024 * 1024


class Settings(BaseSettings):
    """The settings of one process."""

    model_config = SettingsConfigDict(env_prefix="PALIMPSEST_", frozen=True, extra="ignore", populate_by_name=True)

    home: Path = Field(Path(".palimpsest"), description="Where the embedded stack keeps its state.")

    base_models_dir: Path = Field(
        Path(__file__).parent.parent / "base_models",
        description="Each folder in it that has a palimpsest.json is a base model that is there from the start.",
    )

    database_url: str | None = Field(None, validation_alias=AliasChoices("DATABASE_URL", "database_url"))
    database_pooler: bool = Field(
        False, description="Whether a pooler stands before Postgres that lends a connection for one transaction."
    )
    api_patience: Patience = Field(
        Patience(lock_seconds=5, statement_seconds=15, idle_seconds=15), description="Of the API's database sessions."
    )
    worker_patience: Patience = Field(Patience(), description="Of those of workers and sweepers.")
    broker_url: str | None = Field(None, validation_alias=AliasChoices("BROKER_URL", "broker_url"))
    s3_endpoint_url: str | None = Field(None, validation_alias=AliasChoices("S3_ENDPOINT_URL", "s3_endpoint_url"))
    s3_bucket: str = Field("palimpsest", validation_alias=AliasChoices("S3_BUCKET", "s3_bucket"))
    s3_region: str = Field("us-east-1", validation_alias=AliasChoices("S3_REGION", "s3_region"))
    s3_access_key_id: str | None = Field(None, validation_alias=AliasChoices("S3_ACCESS_KEY_ID", "s3_access_key_id"))
    s3_secret_access_key: SecretStr | None = Field(
        None, validation_alias=AliasChoices("S3_SECRET_ACCESS_KEY", "s3_secret_access_key")
    )

    api_host: str = "127.0.0.1"
    api_port: int = Field(8000, ge=0, le=65535)
    api_processes: int = Field(1, ge=1, description="They take connections from one port; without metrics only.")

    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="Where a process tells its metrics; not set: nowhere. `up` counts on from it."
    )
    metrics_host: str = Field("127.0.0.1", description="Metrics take no key: let only your Prometheus reach them.")

    # Limits of the front door.
    max_body_bytes: int = Field(
        MAX_IMAGES_PER_CONCEPT * 16 * MIB + MIB, description="Of a form: as many pictures as a concept may have."
    )
    cors_origins: tuple[str, ...] = Field((), description="Whose pages may call the API from a browser: none.")
    max_image_bytes: int = 16 * MIB
    min_body_bytes_per_second: int = Field(
        16 * 1024, ge=1, description="Of a body that is sent for longer than ten seconds, on average."
    )
    max_adapter_bytes: int = Field(1024 * MIB, description="Of an imported LoRA; SDXL's at rank 64 is 186 MB.")
    max_image_pixels: int = 25_000_000
    max_jpeg_pixels: int = Field(120_000_000, description="Of a JPEG, which is scaled while it is decoded.")
    stored_image_side_pixels: int = Field(2048, description="Larger uploads are scaled down to this longer side.")

    export_memory_bytes: int = Field(4096 * MIB, ge=256 * MIB, description="Of the process that folds an export.")
    export_seconds: float = Field(120.0, gt=0, description="How long it may take.")

    requests_per_second: float = Field(50.0, gt=0, description="Of one API key, on average.")
    requests_burst: int = Field(500, ge=1, description="So many at once, after a pause.")
    quotas: Quotas = Field(Quotas(), description="Of each user; an admin can make exceptions.")

    # The job path. Postgres's clock alone decides when a lease has expired.
    lease_seconds: float = Field(30.0, gt=0)
    heartbeat_seconds: float = Field(3.0, gt=0, description="Shorter than a lease, or every job would be taken away.")
    checkpoint_interval_seconds: float = Field(20.0, ge=0)
    sweep_interval_seconds: float = Field(5.0, gt=0)
    rewake_after_seconds: float = Field(15.0, ge=0)
    stray_object_age_seconds: float = Field(3600.0, ge=0)
    list_bucket_interval_seconds: float = Field(600.0, ge=0)
    count_bytes_interval_seconds: float = Field(600.0, ge=0)
    generation_retention_days: float | None = Field(
        None, gt=0, description="Pictures go so long after their job has ended; not set: they are kept."
    )
    checkpoint_retention_days: float | None = Field(
        None, gt=0, description="A job that has waited so long for a worker starts again from step 0; not set: never."
    )
    max_failures: int = Field(5, ge=1)
    retry_backoff_seconds: float = Field(10.0, ge=0)

    # The worker.
    worker_kinds: tuple[JobKind, ...] = Field(QUEUES, description="Which kinds of job this worker takes.")
    update_cache_dir: Path | None = Field(
        None, description="Where workers keep accumulated updates; `updates` in the home if it is not set."
    )
    update_cache_bytes: int = Field(8192 * MIB, ge=0, description="Of all of them together; 0: none are kept.")
    loaded_bases_bytes: int | None = Field(
        None,
        ge=0,
        description="Of base models kept loaded, least recently used first to go; not set: half the memory.",
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    torch_threads: int = Field(
        2, ge=1, description="Fixed, because a CPU adapter is reproducible only at the same count."
    )

    @model_validator(mode="after")
    def _a_heartbeat_comes_before_its_lease_ends(self) -> Self:
        if self.heartbeat_seconds >= self.lease_seconds:
            raise PydanticCustomError("heartbeat", "heartbeat_seconds must be less than lease_seconds")
        return self

    @model_validator(mode="after")
    def _one_process_tells_its_metrics_on_one_port(self) -> Self:
        if self.metrics_port is not None and self.api_processes > 1:
            raise PydanticCustomError("metrics", "with a metrics_port, api_processes must be 1")
        return self


@lru_cache
def get_settings() -> Settings:
    """This process's settings, read from the environment once."""
    return Settings()
