"""The API as a process of its own, on services that run."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil

from app.settings import Settings
from app.stack.addresses import environment
from app.stack.programs import api_command

_START_SECONDS = 120.0


@contextmanager
def api(settings: Settings) -> Iterator[tuple[psutil.Process, str]]:
    """The process of a running API, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command, variables = api_command("127.0.0.1", port), _environment(settings)
    process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(f"http://127.0.0.1:{port}/health/live"):
            assert time.monotonic() < deadline, "the API did not start"
            time.sleep(0.1)
        yield psutil.Process(process.pid), f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _environment(settings: Settings) -> dict[str, str]:
    limits = {name: str(getattr(settings, name)) for name in ("requests_per_second", "requests_burst")}
    limits["quotas"] = settings.quotas.model_dump_json()
    return {**environment(settings), **{f"PALIMPSEST_{name.upper()}": value for name, value in limits.items()}}


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def unhurried(settings: Settings) -> Settings:
    """Without limits that would answer in the routes' place."""
    quotas = settings.quotas.model_copy(update={"unfinished_jobs": 1_000_000, "lineages": 1_000_000})
    return settings.model_copy(update={"requests_per_second": 1e6, "requests_burst": 1_000_000, "quotas": quotas})
