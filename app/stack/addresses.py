"""Where the stack's services answer, and the file that tells processes which are started apart."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from app.settings import Settings
from app.stack.private_files import write_private
from app.stack.stack_errors import StackError

_FILE_NAME = "stack.json"
_SCHEMES = {
    "database_url": ("postgresql+psycopg", "postgresql", "postgres"),
    "broker_url": ("redis", "rediss", "amqp", "amqps"),
    "s3_endpoint_url": ("http", "https"),
}


@dataclass(frozen=True, repr=False)
class Addresses:
    """Every address that a process of Palimpsest needs, passwords included: never print one."""

    database_url: str
    broker_url: str
    s3_endpoint_url: str
    s3_bucket: str
    s3_region: str
    s3_access_key_id: str | None
    s3_secret_access_key: str | None
    api_url: str | None = None

    def applied_to(self, settings: Settings) -> Settings:
        """The settings with these addresses."""
        secret = None if self.s3_secret_access_key is None else SecretStr(self.s3_secret_access_key)
        return settings.model_copy(
            update={
                "database_url": self.database_url,
                "broker_url": self.broker_url,
                "s3_endpoint_url": self.s3_endpoint_url,
                "s3_bucket": self.s3_bucket,
                "s3_region": self.s3_region,
                "s3_access_key_id": self.s3_access_key_id,
                "s3_secret_access_key": secret,
            }
        )

    def save(self, home: Path) -> None:
        """Write them to the home; they stay there when the stack stops, as its addresses hardly ever change."""
        write_private(home / _FILE_NAME, json.dumps(asdict(self), indent=2))

    @classmethod
    def load(cls, home: Path) -> "Addresses | None":
        """The addresses that were saved in that home, if any were."""
        path = home / _FILE_NAME
        return cls(**json.loads(path.read_text())) if path.exists() else None


def resolve(settings: Settings) -> Settings:
    """The settings with every address that they lack taken from the stack of their home.

    Raises:
        StackError: there is no such stack.
    """
    if settings.database_url and settings.broker_url and settings.s3_endpoint_url:
        return settings
    known = Addresses.load(settings.home)
    if known is None:
        detail = f"no stack in {settings.home}: run `palimpsest up`, or set DATABASE_URL, BROKER_URL, S3_ENDPOINT_URL"
        raise StackError(detail)
    return overridden(known, settings).applied_to(settings)


def environment(settings: Settings) -> dict[str, str]:
    """The environment variables through which a child's `Settings` reads what these say of places and kinds."""
    named = {
        "PALIMPSEST_HOME": str(settings.home.resolve()),
        "PALIMPSEST_WORKER_KINDS": json.dumps(settings.worker_kinds),
        "DATABASE_URL": settings.database_url,
        "BROKER_URL": settings.broker_url,
        "S3_ENDPOINT_URL": settings.s3_endpoint_url,
        "S3_BUCKET": settings.s3_bucket,
        "S3_REGION": settings.s3_region,
        "S3_ACCESS_KEY_ID": settings.s3_access_key_id,
        "S3_SECRET_ACCESS_KEY": revealed(settings.s3_secret_access_key),
    }
    return {name: value for name, value in named.items() if value is not None}


def with_checked_urls(settings: Settings) -> Settings:
    """The settings, with the database's URL as SQLAlchemy wants it, which takes plain `postgresql://` for psycopg2.

    Raises:
        StackError: an address that was given is no URL of its kind.
    """
    for name, schemes in _SCHEMES.items():
        url: str | None = getattr(settings, name)
        if url is not None and urlsplit(url).scheme not in schemes:
            raise StackError(f"{name.upper()} must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if settings.database_url is None:
        return settings
    _, rest = settings.database_url.split("://", 1)
    return settings.model_copy(update={"database_url": f"postgresql+psycopg://{rest}"})


def overridden(known: Addresses, settings: Settings) -> Addresses:
    """`known` with what the settings say in its place; the S3 address goes with its bucket and keys as one."""
    own_s3 = settings.s3_endpoint_url is not None
    return Addresses(
        database_url=settings.database_url or known.database_url,
        broker_url=settings.broker_url or known.broker_url,
        s3_endpoint_url=settings.s3_endpoint_url or known.s3_endpoint_url,
        s3_bucket=settings.s3_bucket if own_s3 else known.s3_bucket,
        s3_region=settings.s3_region if own_s3 else known.s3_region,
        s3_access_key_id=settings.s3_access_key_id if own_s3 else known.s3_access_key_id,
        s3_secret_access_key=revealed(settings.s3_secret_access_key) if own_s3 else known.s3_secret_access_key,
        api_url=known.api_url,
    )


def revealed(secret: SecretStr | None) -> str | None:
    """The text of a secret that may be absent."""
    return None if secret is None else secret.get_secret_value()


def without_secrets(url: str | None) -> str:
    """The host and port that a URL names, and nothing that may not be printed."""
    parts = urlsplit(url or "")
    return f"{parts.hostname or 'local'}:{parts.port}" if parts.port else parts.hostname or "local"
