"""What is deleted is gone, and takes along what hangs on it. Who may see what is in `test_tenancy_matrix`."""

import httpx

from tests.integration.api.belongings import own_everything
from tests.integration.api.inputs import new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import start


def test_what_is_deleted_is_gone(server: Server, client: httpx.Client) -> None:
    names = own_everything(server, client)
    for path in ("/v1/generations/{generation_id}", "/v1/lineages/{lineage_id}", "/v1/concepts/{concept_id}"):
        assert client.delete(names.path(path)).status_code == 204
        assert client.delete(names.path(path)).status_code == 404
    for path in (
        "/v1/concepts/{concept_id}",
        "/v1/concepts/{concept_id}/images/0",
        "/v1/lineages/{lineage_id}",
        "/v1/lineages/{lineage_id}/versions",
        "/v1/lineages/{lineage_id}/versions/1",
        "/v1/lineages/{lineage_id}/versions/1/adapter",
        "/v1/jobs/{job_id}",
        "/v1/generations/{generation_id}",
        "/v1/generations/{generation_id}/images/0",
        "/v1/evaluations/{evaluation_id}",
        "/v1/evaluations/{evaluation_id}.csv",
        "/v1/evaluations/{evaluation_id}/heatmap.png",
    ):
        assert (client.get(names.path(path)).status_code, path) == (404, path)
    usage = client.get("/v1/me").json()["usage"]
    # Bytes are freed by the sweeper, and seconds that were spent stay spent.
    assert {count for name, count in usage.items() if name not in ("stored_bytes", "gpu_seconds")} == {0}
    new_concept(client, "rex")


def test_deleting_a_concept_cancels_its_training(server: Server, client: httpx.Client) -> None:
    concept, other = new_concept(client, "rex"), new_concept(client, "max")
    lineages = [new_lineage(client) for _ in range(3)]
    jobs = [
        client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": taught}).json()["id"]
        for lineage, taught in zip(lineages, (concept, concept, other), strict=True)
    ]
    start(server, jobs[1])
    client.delete(f"/v1/concepts/{concept}")
    found = [client.get(f"/v1/jobs/{job}").json() for job in jobs]
    assert [job["status"] for job in found] == ["canceled", "running", "queued"]
    assert [job["cancel_requested_at"] is not None for job in found] == [True, True, False]


def test_deleting_a_lineage_cancels_its_jobs(server: Server, client: httpx.Client) -> None:
    lineage = new_lineage(client)
    drawn = client.post("/v1/generations", json={"lineage_id": lineage, "prompt": "a cat"}).json()["id"]
    assert client.get("/v1/me").json()["usage"]["unfinished_jobs"] == 1
    client.delete(f"/v1/lineages/{lineage}")
    assert client.get("/v1/me").json()["usage"]["unfinished_jobs"] == 0
    assert client.get(f"/v1/jobs/{drawn}").status_code == 404


def test_deleting_a_generation_cancels_its_job(client: httpx.Client) -> None:
    body = {"lineage_id": new_lineage(client), "prompt": "a cat"}
    jobs = [client.post("/v1/generations", json=body).json() for _ in range(2)]
    client.delete(f"/v1/generations/{jobs[0]['result']['generation_id']}")
    assert [client.get(f"/v1/jobs/{job['id']}").json()["status"] for job in jobs] == ["canceled", "queued"]


def test_renaming(client: httpx.Client) -> None:
    lineage = new_lineage(client)
    assert client.patch(f"/v1/lineages/{lineage}", json={"name": "cats"}).json()["name"] == "cats"
    assert client.get(f"/v1/lineages/{lineage}").json()["name"] == "cats"
    assert client.patch(f"/v1/lineages/{lineage}", json={"strategy": {"name": "naive"}}).status_code == 422
