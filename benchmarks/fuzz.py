"""Generated requests against every route of `/openapi.json`: `python -m benchmarks.fuzz [examples per route]`.

Schemathesis asks as an admin, so that every route answers. A server error, a status that is not documented, or an
answer that is not what its schema says fails the run.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

from app.bootstrap import bootstrap
from app.settings import Settings
from benchmarks.hostile_uploads import api
from tests.services import fresh_settings, running_services

_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def fuzz(url: str, key: str, examples: int, folder: Path) -> int:
    """The exit status of a run: 0 when nothing is wrong."""
    program = Path(sys.executable).with_name("schemathesis")
    options = ["--checks", _CHECKS, "--max-examples", str(examples), "--phases", "examples,coverage,fuzzing"]
    quiet = ["--no-color", "--continue-on-failure", "--suppress-health-check", "all", "--warnings", "off"]
    fixed = ["--seed", "6", "--no-shrink", "--request-timeout", "60"]
    # The event streams end with their job, which nobody runs here.
    without = ["--exclude-path-regex", "/events$"]
    header = ["--header", f"Authorization: Bearer {key}"]
    command = [str(program), "run", f"{url}/openapi.json", *header, *options, *quiet, *fixed, *without]
    return subprocess.run(command, cwd=folder, check=False).returncode


def main() -> None:
    """Start everything, fuzz, and exit as the run did."""
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        with running_services(home / "stack") as addresses, fresh_settings(addresses, home / "home") as settings:
            key = bootstrap(settings)
            assert key is not None
            with api(unhurried(settings)) as (_, url):
                _furnish(url, key)
                status = fuzz(url, key, examples, home)
    sys.exit(status)


def unhurried(settings: Settings) -> Settings:
    """Without limits that would answer in the routes' place."""
    return settings.model_copy(update={"requests_per_second": 1e6, "requests_burst": 1_000_000})


def _furnish(url: str, key: str) -> None:
    """A lineage to be found."""
    body = {"name": "pets", "base_model": "icons-64", "strategy": {"name": "merge"}}
    httpx.post(f"{url}/v1/lineages", json=body, headers={"Authorization": f"Bearer {key}"}).raise_for_status()


if __name__ == "__main__":
    main()
