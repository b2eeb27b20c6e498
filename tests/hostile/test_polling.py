"""Polls are cheap, refusals cheaper, and the rate is one user's, over all keys and all processes."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from sqlalchemy import text

from app.settings import Settings
from app.stack.waiting import becomes_true
from benchmarks.api_process import api_process
from tests.hostile.place import PATIENCE_SECONDS, Place, place
from tests.integration.api.inputs import new_lineage

COUNT = 200


def new_job(client: httpx.Client) -> str:
    answer = client.post("/v1/generations", json={"lineage_id": new_lineage(client), "prompt": "a cat"})
    assert answer.status_code == 202, answer.text
    return f"/v1/jobs/{answer.json()['id']}"


def transactions_of(api: Place, act: Callable[[], None], at_least: int) -> int:
    """How many transactions that took, once Postgres has counted all of them."""

    def count() -> int:
        query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        with api.engine.connect() as connection:
            return int(connection.execute(text(query)).scalar_one())

    settled = count()
    assert becomes_true(lambda: count() - settled >= 12, PATIENCE_SECONDS)
    before = count()
    act()
    mine = 0

    def is_counted() -> bool:
        nonlocal mine
        mine += 1
        return count() - before - mine >= at_least

    assert becomes_true(is_counted, PATIENCE_SECONDS)
    return count() - before - mine


def test_a_poll_is_one_transaction(api: Place, client: httpx.Client) -> None:
    job = new_job(client)
    tag = client.get(job).headers["ETag"]

    def poll() -> None:
        for _ in range(COUNT // 2):
            assert client.get(job).status_code == 200
            assert client.get(job, headers={"If-None-Match": tag}).status_code == 304

    # Beside the polls, paces are shared a few times a second.
    assert transactions_of(api, poll, COUNT) <= 1.5 * COUNT


def test_an_etag_changes_with_the_job_and_only_then(client: httpx.Client) -> None:
    job = new_job(client)
    first = client.get(job)
    assert client.get(job).headers["ETag"] == first.headers["ETag"]
    assert client.post(f"{job}/cancel").status_code == 200
    second = client.get(job, headers={"If-None-Match": first.headers["ETag"]})
    assert (second.status_code, second.json()["status"]) == (200, "canceled")
    assert second.headers["ETag"] != first.headers["ETag"]
    assert client.get(job, headers={"If-None-Match": second.headers["ETag"]}).status_code == 304


def test_a_poll_tells_what_the_list_tells(client: httpx.Client) -> None:
    job = new_job(client)
    assert client.get(job).json() == client.get("/v1/jobs").json()["items"][0]


def test_a_refusal_asks_nothing_of_the_database_and_costs_little(settings: Settings, tmp_path: Path) -> None:
    slow = settings.model_copy(update={"requests_per_second": 0.001, "requests_burst": COUNT + 60})
    with place(slow, tmp_path) as api, api.client(api.new_key()) as client:
        job = new_job(client)
        for _ in range(50):
            client.get(job)
        began = api.cpu_seconds()
        for _ in range(COUNT):
            assert client.get(job).status_code == 200
        served = api.cpu_seconds() - began
        while client.get(job).status_code != 429:
            pass
        began = api.cpu_seconds()

        def ask() -> None:
            for _ in range(COUNT):
                assert client.get(job).status_code == 429

        assert transactions_of(api, ask, 0) <= COUNT / 4
        # Of what is measured here much is the HTTP server's; `benchmarks.polling` tells more exactly.
        assert api.cpu_seconds() - began <= served


def test_the_rate_is_one_for_all_keys_of_a_user_and_all_processes(settings: Settings, tmp_path: Path) -> None:
    rate, burst, ahead = 5.0, 40, 20
    slow = settings.model_copy(update={"requests_per_second": rate, "requests_burst": burst})
    with place(slow, tmp_path) as api, api_process(api.settings) as (_, other), api.client(api.new_key()) as client:
        keys = [client.headers["Authorization"].removeprefix("Bearer ")]
        keys += [client.post("/v1/keys", json={"name": "another"}).json()["key"] for _ in range(3)]
        began = time.monotonic()

        def hurry(n: int) -> Counter[int]:
            headers = {"Authorization": f"Bearer {keys[n % len(keys)]}"}
            with httpx.Client(base_url=(api.url, other)[n % 2], headers=headers, timeout=60) as hurried:
                return Counter(hurried.get("/v1/jobs").status_code for _ in range(150))

        with ThreadPoolExecutor(4) as pool:
            found = sum(pool.map(hurry, range(4)), Counter[int]())
        seconds = time.monotonic() - began
    assert found[429] > 0
    assert set(found) == {200, 429}
    assert found[200] <= burst + rate * seconds + ahead


def test_keys_are_bounded(client: httpx.Client) -> None:
    statuses = [client.post("/v1/keys", json={"name": "one more"}).status_code for _ in range(50)]
    assert statuses == [201] * 49 + [429]
    spare = client.get("/v1/keys").json()["items"][0]["id"]
    assert client.delete(f"/v1/keys/{spare}").status_code == 204
    assert client.post("/v1/keys", json={"name": "one more"}).status_code == 201
