"""What a poll of a job costs: `python -m benchmarks.polling [--against CHECKOUT] [--seconds 5] [--rounds 3]`.

One API process for each checkout, this one and another if it is named, on the same services. They are measured in turn:
answers to 16 connections that ask without pause, without an ETag and with a valid one; refusals of a key that asks too
fast; and 500 connections at once. For each: answers a second, the processor time of the API for an answer (which a busy
machine does not stretch), so also the answers that one core could give, and how long the callers waited.
"""

import argparse
import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
from sqlalchemy import create_engine, make_url, text

from app.settings import Settings
from app.stack.addresses import Addresses
from app.stack.private_files import home_folder
from app.stack.services import start_services
from app.stack.signals import StopRequest
from app.stack.supervisor import Supervisor
from benchmarks.api_process import api_process, variables_of

_ROOT = Path(__file__).parent.parent
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_BUSY, _MANY = 16, 500
_WARM_UP_SECONDS = 0.5


@dataclass(frozen=True)
class Case:
    """What is asked, by how many connections at once, and which answer is expected."""

    name: str
    connections: int
    status: int
    with_tag: bool = False
    hurried: bool = False


CASES = (
    Case("200, without an ETag", _BUSY, 200),
    Case("304, with a valid ETag", _BUSY, 304, with_tag=True),
    Case("429, asked too fast", _BUSY, 429, hurried=True),
    Case("200 to 500 pollers", _MANY, 200),
    Case("304 to 500 pollers", _MANY, 304, with_tag=True),
)


@dataclass(frozen=True)
class Measured:
    """One round of one case."""

    answers: int
    seconds: float
    cpu_seconds: float
    waits: list[float]

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds

    @property
    def milliseconds_each(self) -> float:
        return 1000 * self.cpu_seconds / self.answers

    def wait(self, share: float) -> float:
        """How long a caller waited, in seconds, whom so large a share did not outwait."""
        return sorted(self.waits)[min(int(share * len(self.waits)), len(self.waits) - 1)]


class Api(NamedTuple):
    """A running API, and which job of it is polled with which key."""

    process: psutil.Process
    url: str
    key: str
    path: str


@dataclass(frozen=True)
class Subject:
    """The APIs of a checkout."""

    name: str
    api: Api
    hurried: Api


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--against", type=Path, help="another checkout, such as a worktree of the commit before")
    words.add_argument("--seconds", type=float, default=5.0)
    words.add_argument("--rounds", type=int, default=3)
    asked = words.parse_args()
    checkouts = {"this": _ROOT} | ({} if asked.against is None else {"other": asked.against.resolve()})
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        addresses = stack.enter_context(services(Path(folder) / "stack"))
        subjects = []
        for name, checkout in checkouts.items():
            subjects.append(stack.enter_context(subject(name, addresses, Path(folder), checkout)))
        for case in CASES:
            found: dict[str, list[Measured]] = {one.name: [] for one in subjects}
            for _ in range(asked.rounds):
                for one in subjects:
                    found[one.name].append(measured(case, one, asked.seconds))
            tell(case, found)


@contextmanager
def services(home: Path) -> Iterator[Addresses]:
    """Postgres, Redis and S3 of their own."""
    settings = Settings(home=home, database_url=None, broker_url=None, s3_endpoint_url=None)
    with Supervisor(home_folder(home), StopRequest(), print) as supervisor:
        yield start_services(settings, home, supervisor)


@contextmanager
def subject(name: str, addresses: Addresses, folder: Path, checkout: Path) -> Iterator[Subject]:
    """The API of a checkout without limits, and one over the same rows whose users are soon over the limit."""
    home = folder / name / "home"
    home.mkdir(parents=True)
    settings = addresses.applied_to(Settings(home=home)).model_copy(
        update={"database_url": _new_database(addresses, name), "s3_bucket": f"polling-{name}"}
    )
    unlimited = settings.model_copy(update={"requests_per_second": 1e6, "requests_burst": 10**9})
    limited = settings.model_copy(update={"requests_per_second": 0.001, "requests_burst": 50})
    _run(checkout, settings, "from app.db.migrate import upgrade; upgrade(settings.database_url)")
    key = _run(checkout, settings, "from app.bootstrap import bootstrap; print(bootstrap(settings))")
    with api_process(unlimited, checkout) as (process, url), api_process(limited, checkout) as (hurried, hurried_url):
        admin = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60)
        other = admin.post("/v1/users", json={"name": "hurried"}).json()["key"]
        plain = Api(process, url, key, _new_job(url, key))
        yield Subject(name, plain, Api(hurried, hurried_url, other, _new_job(url, other)))


def _new_database(addresses: Addresses, name: str) -> str:
    engine = create_engine(addresses.database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE polling_{name} TEMPLATE template0"))
    engine.dispose()
    return make_url(addresses.database_url).set(database=f"polling_{name}").render_as_string(hide_password=False)


def _new_job(url: str, key: str) -> str:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        lineage = {"name": "polled", "base_model": "icons-64", "strategy": {"name": "merge"}}
        body = {"lineage_id": client.post("/v1/lineages", json=lineage).json()["id"], "prompt": "a cat"}
        return f"/v1/jobs/{client.post('/v1/generations', json=body).json()['id']}"


def _run(checkout: Path, settings: Settings, code: str) -> str:
    code = f"from app.settings import Settings; settings = Settings(); {code}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=variables_of(settings, checkout),
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def measured(case: Case, one: Subject, seconds: float) -> Measured:
    """One round of a case."""
    api = one.hurried if case.hurried else one.api
    headers = {"Authorization": f"Bearer {api.key}"}
    if case.hurried:
        while httpx.get(api.url + api.path, headers=headers).status_code != 429:
            pass
    if case.with_tag:
        headers["If-None-Match"] = httpx.get(api.url + api.path, headers=headers).headers["ETag"]
    request = "\r\n".join([f"GET {api.path} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in headers.items()), "", ""])
    asyncio.run(poll(api.url, request.encode(), case, _WARM_UP_SECONDS))
    cpu, began = sum(api.process.cpu_times()[:2]), time.perf_counter()
    waits = asyncio.run(poll(api.url, request.encode(), case, seconds))
    took = time.perf_counter() - began
    return Measured(len(waits), took, sum(api.process.cpu_times()[:2]) - cpu, waits)


async def poll(url: str, request: bytes, case: Case, seconds: float) -> list[float]:
    """How long each answer took, on so many connections that ask without pause."""
    address, until = httpx.URL(url), time.perf_counter() + seconds
    pollers = (_poll(address, request, case.status, until) for _ in range(case.connections))
    return [wait for waits in await asyncio.gather(*pollers) for wait in waits]


async def _poll(address: httpx.URL, request: bytes, status: int, until: float) -> list[float]:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    waits = []
    while (began := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert int(head[9:12]) == status, head
        if found := _LENGTH.search(head):
            await reader.readexactly(int(found[1]))
        waits.append(time.perf_counter() - began)
    writer.close()
    return waits


def tell(case: Case, found: dict[str, list[Measured]]) -> None:
    """One line for each checkout: the medians of its rounds; then the ratio of the processor time."""
    for name, rounds in found.items():
        each = statistics.median(one.milliseconds_each for one in rounds)
        p50, p99 = (statistics.median(one.wait(share) for one in rounds) for share in (0.5, 0.99))
        rate = statistics.median(one.per_second for one in rounds)
        print(
            f"{case.name:24} {name:6} {rate:7.0f}/s  {each:6.2f} ms of processor, so {1000 / each:6.0f}/s a core"
            f"   p50 {1000 * p50:6.0f} ms  p99 {1000 * p99:6.0f} ms",
            flush=True,
        )
    if len(found) == 2:
        this, other = (statistics.median(one.milliseconds_each for one in rounds) for rounds in found.values())
        print(f"{case.name:24} the other takes {other / this:.2f} times the processor time", flush=True)


if __name__ == "__main__":
    main()
