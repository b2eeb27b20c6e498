"""The compose file's commands and variables, as plain processes on the real services: a deployment, Docker aside."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from app.stack.addresses import Addresses, environment
from app.stack.ports import free_port
from app.stack.waiting import http_status
from tests.acceptance.foreign_client import ForeignClient
from tests.acceptance.up import PATIENCE_SECONDS, eventually
from tests.services import EMPTY, fresh_settings
from tests.tiny_pipelines import write_tiny_sd

COMPOSE = Path(__file__).parent.parent.parent / "docker-compose.yml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
LONG_RUNNING = ("worker-train", "worker-generate", "sweeper")


@pytest.fixture
def variables(services: Addresses, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Those that the compose file sets, with these services' values, and those that the image sets.

    The database is as the image of Postgres makes it: without tables.
    """
    write_tiny_sd(tmp_path / "bases" / "tiny-sd")
    with fresh_settings(services, tmp_path / "home", EMPTY) as settings:
        here = environment(settings)
        yield {
            **{name: value for name, value in os.environ.items() if not name.startswith("PALIMPSEST_")},
            **{name: here[name] for name in SERVICES["api"]["environment"]},
            "PALIMPSEST_HOME": str(tmp_path / "home"),
            "PALIMPSEST_BASE_MODELS_DIR": str(tmp_path / "bases"),
            "PALIMPSEST_TORCH_THREADS": "1",
        }


@contextmanager
def process(command: list[str], variables: dict[str, str], log: Path) -> Iterator[None]:
    """The palimpsest command with these words, ended by SIGTERM as Docker does it."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            [sys.executable, "-m", "app.cli", *command], env=variables, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        started.terminate()
        # Uvicorn, when all is done, lets the signal that stopped it have its way.
        assert started.wait(PATIENCE_SECONDS) in (0, -signal.SIGTERM), log.read_text()


def bootstrap(variables: dict[str, str], tmp_path: Path) -> str:
    """The admin's key."""
    (tmp_path / "home").mkdir(mode=0o700)
    command = [sys.executable, "-m", "app.cli", *SERVICES["bootstrap"]["command"]]
    subprocess.run(command, env=variables, check=True, timeout=PATIENCE_SECONDS)
    subprocess.run(command, env=variables, check=True, timeout=PATIENCE_SECONDS)  # As at the next `docker compose up`.
    return (tmp_path / "home" / "admin.key").read_text().strip()


def test_the_services_of_the_compose_file_work_together(variables: dict[str, str], tmp_path: Path) -> None:
    key, port = bootstrap(variables, tmp_path), free_port("127.0.0.1")
    commands = {name: SERVICES[name]["command"] for name in LONG_RUNNING}
    commands["api"] = [str(port) if word == "8000" else word for word in SERVICES["api"]["command"]]
    with ExitStack() as running:
        for name, command in commands.items():
            running.enter_context(process(command, variables, tmp_path / f"{name}.log"))
        eventually(lambda: http_status("127.0.0.1", port, "/health/ready") == 200)
        client = ForeignClient(f"http://127.0.0.1:{port}", key)
        lineage = client.lineage("merge", rank=2, steps=4, batch_size=1)
        assert client.wait(client.train(lineage, client.concept("vase"))["id"], "succeeded")["result"]["version"] == 1
        assert len(client.pictures(lineage, 1, "a photo of <vase>")) == 2
