"""What a key may do, how fast it may ask, and how much its user may have."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.settings import Settings
from tests.integration.api.conftest import running_server
from tests.integration.api.inputs import BASE, files, image, new_concept, new_lineage
from tests.integration.api.state import Server


def key_of(client: httpx.Client, scope: str | None = None) -> dict[str, str]:
    body = {"name": "spare"} if scope is None else {"name": "spare", "scope": scope}
    answer = client.post("/v1/keys", json=body)
    assert answer.status_code == 201, answer.text
    created: dict[str, str] = answer.json()
    return created


def test_a_key_makes_none_of_a_larger_scope(server: Server, client: httpx.Client, admin: httpx.Client) -> None:
    assert client.get("/v1/me").json()["scope"] == "write"
    assert client.post("/v1/keys", json={"name": "x", "scope": "admin"}).status_code == 403
    assert key_of(client)["scope"] == "write"
    with server.client(key_of(client, "read")["key"]) as reader:
        refused = reader.post("/v1/keys", json={"name": "x"})
        assert refused.status_code == 403
        assert refused.json()["type"] == "urn:palimpsest:problem:forbidden"
        assert "scope write; yours has scope read" in refused.json()["detail"]
        assert reader.get("/v1/me").json()["scope"] == "read"
    assert admin.get("/v1/me").json()["scope"] == "admin"
    assert key_of(admin)["scope"] == "admin"


def test_an_admins_smaller_key_is_no_admins(server: Server, admin: httpx.Client) -> None:
    large = key_of(admin, "admin")
    with server.client(key_of(admin, "write")["key"]) as smaller:
        assert smaller.get("/v1/users").status_code == 403
        assert smaller.get("/v1/concepts").status_code == 200
        assert smaller.delete(f"/v1/keys/{large['id']}").status_code == 403
    assert admin.delete(f"/v1/keys/{large['id']}").status_code == 204


def limited(admin: httpx.Client, client: httpx.Client, **quotas: int) -> None:
    user = client.get("/v1/me").json()["user"]["id"]
    answer = admin.put(f"/v1/users/{user}/quotas", json=quotas)
    assert answer.status_code == 200, answer.text
    assert client.get("/v1/me").json()["quotas"] == answer.json()
    assert answer.json().items() >= quotas.items()


def assert_reached(answer: httpx.Response, quota: str, numbers: str, *, waiting_helps: bool) -> None:
    assert answer.status_code == 429, answer.text
    problem = answer.json()
    assert problem["type"] == "urn:palimpsest:problem:quota-reached"
    assert problem["errors"] == [{"field": quota, "message": f"{numbers} used"}]
    assert ("Retry-After" in answer.headers) == waiting_helps


def test_quotas_of_things(server: Server, admin: httpx.Client, client: httpx.Client) -> None:
    limited(admin, client, images=3, lineages=1)
    new_concept(client, "rex")
    before = server.contents()
    fields = {"name": "max", "kind": "style"}
    assert_reached(
        client.post("/v1/concepts", data=fields, files=files(image(), image())), "images", "2 of 3", waiting_helps=False
    )
    assert server.contents() == before
    assert client.post("/v1/concepts", data=fields, files=files(image())).status_code == 201
    new_lineage(client)
    body = {"name": "more", "base_model": BASE, "strategy": {"name": "merge"}}
    assert_reached(client.post("/v1/lineages", json=body), "lineages", "1 of 1", waiting_helps=False)
    limited(admin, client, stored_bytes=client.get("/v1/me").json()["usage"]["stored_bytes"])
    refused = client.post("/v1/concepts", data={**fields, "name": "moritz"}, files=files(image()))
    assert refused.json()["errors"][0]["field"] == "stored_bytes"
    assert client.post("/v1/lineages", json=body).status_code == 201


def test_racing_jobs_take_no_more_places_than_there_are(admin: httpx.Client, client: httpx.Client) -> None:
    limited(admin, client, unfinished_jobs=3)
    body = {"lineage_id": new_lineage(client), "prompt": "a cat"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/generations", json=body), range(8)))
    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [429] * 5
    for answer in answers:
        if answer.status_code == 429:
            assert_reached(answer, "unfinished_jobs", "3 of 3", waiting_helps=True)
    client.post(f"/v1/jobs/{client.get('/v1/jobs').json()['items'][0]['id']}/cancel")
    assert client.post("/v1/generations", json=body).status_code == 202


def test_gpu_seconds(admin: httpx.Client, client: httpx.Client) -> None:
    limited(admin, client, gpu_seconds=0)
    body = {"lineage_id": new_lineage(client), "prompt": "a cat"}
    assert_reached(client.post("/v1/generations", json=body), "gpu_seconds", "0 of 0", waiting_helps=True)


def test_a_quota_of_one_user_is_no_others(
    admin: httpx.Client, client: httpx.Client, new_client: Callable[[], httpx.Client]
) -> None:
    limited(admin, client, lineages=0)
    new_lineage(new_client())


@pytest.mark.parametrize("body", [{"lineages": -1}, {"lineage": 5}, {"lineages": "many"}, {"images": 2**60}])
def test_bad_quotas(admin: httpx.Client, client: httpx.Client, body: dict[str, object]) -> None:
    user = client.get("/v1/me").json()["user"]["id"]
    assert admin.put(f"/v1/users/{user}/quotas", json=body).status_code == 422


def test_a_key_that_asks_too_fast_is_told_when_to_go_on(settings: Settings, tmp_path: Path) -> None:
    slow = settings.model_copy(update={"requests_per_second": 0.05, "requests_burst": 4})
    with running_server(slow, tmp_path) as server, server.client(server.admin_key) as client:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: client.get("/v1/strategies"), range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] * 4 + [429] * 4
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["type"] == "urn:palimpsest:problem:rate-limited"
        assert "4 requests" in refused.json()["detail"]
        assert 0 < int(refused.headers["Retry-After"]) <= 20
        # No other key waits for it, and health is nobody's.
        assert client.get("/health/live").status_code == 200
        with server.client(None) as nobody:
            assert nobody.get("/v1/me").status_code == 401
