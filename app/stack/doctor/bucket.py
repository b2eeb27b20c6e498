"""S3: whether the bucket is there, can be written, read and emptied, and what time its server has."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from uuid import uuid4

from app.domain.errors import StorageError
from app.settings import Settings
from app.stack.addresses import without_secrets
from app.stack.doctor.clocks import clock_findings
from app.stack.doctor.findings import Finding, first_line, problem, warning
from app.stack.doctor.given_settings import is_near
from app.storage import ObjectStore


def bucket_findings(settings: Settings) -> Iterator[Finding]:
    """What is wrong with the bucket of the settings."""
    endpoint = settings.s3_endpoint_url or ""
    if endpoint.startswith("http://") and not is_near(endpoint):
        yield warning("pictures and weights go to S3 unencrypted (http://)", "Use https:// in S3_ENDPOINT_URL")
    store = ObjectStore(settings)
    place = f"bucket {settings.s3_bucket} at {without_secrets(endpoint)}"
    try:
        yield from clock_findings("S3", parsedate_to_datetime(store.told_time()), datetime.now(UTC))
        store.try_out(f"doctor/{uuid4()}")
    except StorageError as error:
        said = first_line(error)
        if "404" in said or "NoSuchBucket" in said:
            yield problem(f"there is no {place}", "Run: palimpsest bootstrap")
        else:
            advice = "Correct S3_ENDPOINT_URL, S3_BUCKET or the keys; they must let us put, get and delete"
            yield problem(f"the {place} cannot be used ({said})", advice)
