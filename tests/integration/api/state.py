"""A running server, and what is behind it."""

import itertools
from dataclasses import dataclass

import httpx
from sqlalchemy import Engine, text

from app.db.tables import Table
from app.settings import Settings
from app.storage import ObjectStore

_numbers = itertools.count()


@dataclass(frozen=True)
class Server:
    """Where it is, who may do everything there, and what it stands on."""

    url: str
    admin_key: str
    settings: Settings
    engine: Engine

    def client(self, key: str | None) -> httpx.Client:
        """A client with that key."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def unique(self, prefix: str) -> str:
        """A name that no other test uses."""
        return f"{prefix}-{next(_numbers)}"

    def contents(self) -> dict[str, int]:
        """How many rows each table has, and the bucket how many objects."""
        with self.engine.connect() as connection:
            rows = {
                name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()  # noqa: S608
                for name in Table.metadata.tables
                if name != "paces"  # how fast somebody asks, told a moment later
            }
        return rows | {"the bucket": sum(1 for _ in ObjectStore(self.settings).list(""))}
