"""A real API process on real services, as the hostile tests hold it."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from sqlalchemy import Engine

from app.bootstrap import bootstrap
from app.db.session import make_engine
from app.settings import Settings
from benchmarks.api_process import api_process
from tests.integration.api.inputs import write_base_models

MIB = 1024 * 1024
PATIENCE_SECONDS = 120.0

_numbers = itertools.count()


@dataclass(frozen=True)
class Place:
    """Where the API is, which process it is, who may do everything there, and what it stands on."""

    url: str
    process: psutil.Process
    admin_key: str
    settings: Settings
    engine: Engine

    def client(self, key: str | None) -> httpx.Client:
        """A client with that key."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def new_key(self, **quotas: int) -> str:
        """The key of a new user, with these quotas."""
        with self.client(self.admin_key) as admin:
            created = admin.post("/v1/users", json={"name": f"user-{next(_numbers)}"})
            assert created.status_code == 201, created.text
            if quotas:
                answer = admin.put(f"/v1/users/{created.json()['id']}/quotas", json=quotas)
                assert answer.status_code == 200, answer.text
        return str(created.json()["key"])

    def peak_bytes(self) -> int:
        """The most that the process has had in memory since `forget_peak`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) * 1024

    def forget_peak(self) -> int:
        """Measure from here on; how much it has now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return int(self.process.memory_info().rss)

    def cpu_seconds(self) -> float:
        """The processor time that the process has used."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def place(settings: Settings, folder: Path) -> Iterator[Place]:
    """An API process on a bootstrapped database."""
    settings = settings.model_copy(update={"base_models_dir": write_base_models(folder)})
    admin_key = bootstrap(settings)
    assert admin_key is not None
    assert settings.database_url is not None
    engine = make_engine(settings.database_url)
    with api_process(settings) as (process, url):
        yield Place(url, process, admin_key, settings, engine)
    engine.dispose()
