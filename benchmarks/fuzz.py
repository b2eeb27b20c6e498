"""Generated requests against every route of `/openapi.json`: `python -m benchmarks.fuzz [examples per route]`.

Schemathesis asks as an admin, so that every route answers. A server error, a status that is not documented, or an
answer that is not what its schema says fails the run.
"""

import sys
import tempfile
from pathlib import Path

import httpx

from app.bootstrap import bootstrap
from app.settings import Settings
from benchmarks.hostile_uploads import api
from tests.schema_fuzz import fuzz
from tests.services import fresh_settings, running_services


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
                run = fuzz(url, key, home, examples, phases="examples,coverage,fuzzing")
    print(run.stdout)
    sys.exit(run.returncode)


def unhurried(settings: Settings) -> Settings:
    """Without limits that would answer in the routes' place."""
    return settings.model_copy(update={"requests_per_second": 1e6, "requests_burst": 1_000_000})


def _furnish(url: str, key: str) -> None:
    """A lineage to be found."""
    body = {"name": "pets", "base_model": "icons-64", "strategy": {"name": "merge"}}
    httpx.post(f"{url}/v1/lineages", json=body, headers={"Authorization": f"Bearer {key}"}).raise_for_status()


if __name__ == "__main__":
    main()
