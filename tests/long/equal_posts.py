"""A thousand equal POSTs at one moment make one job: `python -m tests.long.equal_posts [how many]`.

The API is a process of its own on real services. The run fails if an answer is neither the first one's nor a 409 that
says it is still running, or if there is not exactly one job, for a training and for a drawing.
"""

import asyncio
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx

from app.bootstrap import bootstrap
from tests.equal_posts import assert_one_acted, post_equals
from tests.integration.api.inputs import new_concept
from tests.long.api_process import api, unhurried
from tests.services import fresh_settings, running_services


def main() -> None:
    """Start everything, post, and tell."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        addresses = stack.enter_context(running_services(folder / "stack"))
        settings = stack.enter_context(fresh_settings(addresses, folder / "home"))
        key = bootstrap(settings)
        assert key is not None
        _, url = stack.enter_context(api(unhurried(settings)))
        _post(url, key, count)


def _post(url: str, key: str, count: int) -> None:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        body = {"name": "pets", "base_model": "icons-64", "strategy": {"name": "merge"}}
        lineage, concept = client.post("/v1/lineages", json=body).json()["id"], new_concept(client, "rex")
        asked: dict[str, dict[str, object]] = {
            f"/v1/lineages/{lineage}/versions": {"concept_id": concept},
            "/v1/generations": {"lineage_id": lineage, "prompt": "a cat"},
        }
        for jobs, (path, fields) in enumerate(asked.items(), start=1):
            started = time.perf_counter()
            statuses = assert_one_acted(asyncio.run(post_equals(url, key, path, fields, count)))
            seconds = time.perf_counter() - started
            assert len(client.get("/v1/jobs").json()["items"]) == jobs
            print(f"{path}: {dict(statuses)}, one job, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
