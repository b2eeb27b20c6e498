"""One API as a process of its own, of this checkout or another."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from app.settings import Settings
from app.stack.addresses import environment
from app.stack.waiting import becomes_true

_START_SECONDS = 120.0
_NUMBERS = ("requests_per_second", "requests_burst", "min_body_bytes_per_second", "export_memory_bytes")


@contextmanager
def api_process(settings: Settings, checkout: Path | None = None) -> Iterator[tuple[psutil.Process, str]]:
    """The process of one running API, and its address; it logs into the folder that the home is in."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = (sys.executable, "-m", "uvicorn", "app.main:serve", "--factory", "--port", str(port))
    url, log = f"http://127.0.0.1:{port}", settings.home.parent / f"api-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=variables_of(settings, checkout), cwd=checkout, stdout=output, stderr=output
        )
        try:
            assert becomes_true(lambda: _answers(url), _START_SECONDS), log.read_text()[-2000:]
            yield psutil.Process(process.pid), url
        finally:
            process.terminate()
            process.wait()


def variables_of(settings: Settings, checkout: Path | None = None) -> dict[str, str]:
    """The environment of a process with these settings."""
    numbers = {f"PALIMPSEST_{name.upper()}": str(getattr(settings, name)) for name in _NUMBERS}
    others = {
        "PALIMPSEST_QUOTAS": settings.quotas.model_dump_json(),
        "PALIMPSEST_BASE_MODELS_DIR": str(settings.base_models_dir),
    }
    path = {} if checkout is None else {"PYTHONPATH": str(checkout)}
    return {**os.environ, **environment(settings), **numbers, **others, **path}


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live").status_code == 200
    except httpx.TransportError:
        return False
