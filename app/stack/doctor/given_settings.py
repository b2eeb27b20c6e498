"""Settings that contradict each other, before anything is asked over the network."""

import ipaddress
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from app.settings import Settings
from app.stack.doctor.findings import Finding, problem

_S3_VARIABLES = ("S3_BUCKET", "S3_REGION", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY")
_AWS = "name it; Amazon's is https://s3.REGION.amazonaws.com"


def address_findings(settings: Settings, variables: Mapping[str, str]) -> Iterator[Finding]:
    """Of the settings as they were given, with the environment that they came from."""
    named = [name for name in _S3_VARIABLES if variables.get(name)]
    if settings.s3_endpoint_url is None and named:
        yield problem(
            f"{', '.join(named)} without S3_ENDPOINT_URL: the embedded S3 would be used", f"Set S3_ENDPOINT_URL: {_AWS}"
        )
    if (settings.s3_access_key_id is None) != (settings.s3_secret_access_key is None):
        yield problem("one of S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY is set alone", "Set both, or neither")
    given = {
        "DATABASE_URL": settings.database_url,
        "BROKER_URL": settings.broker_url,
        "S3_ENDPOINT_URL": settings.s3_endpoint_url,
    }
    missing = [name for name, value in given.items() if value is None]
    if 0 < len(missing) < len(given):
        yield problem(
            f"{', '.join(missing)} not set while others are: the embedded service would be used",
            "Set all three, or start `palimpsest up` on purpose with some of its own services",
        )


def is_near(url: str) -> bool:
    """Whether the URL's host is this machine: what goes there needs no encryption."""
    host = urlsplit(url).hostname
    if not host or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
