"""Watching and canceling jobs."""

import httpx

from tests.integration.api.inputs import new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import start, teach


def training(client: httpx.Client) -> tuple[str, str]:
    lineage = new_lineage(client)
    body = {"concept_id": new_concept(client, "rex")}
    return lineage, client.post(f"/v1/lineages/{lineage}/versions", json=body).json()["id"]


def test_polling_costs_nothing_while_nothing_changes(server: Server, client: httpx.Client) -> None:
    _, job = training(client)
    first = client.get(f"/v1/jobs/{job}")
    assert int(first.headers["Retry-After"]) > 0
    condition = {"If-None-Match": first.headers["ETag"]}
    assert client.get(f"/v1/jobs/{job}", headers=condition).status_code == 304
    start(server, job, step=13)
    answer = client.get(f"/v1/jobs/{job}", headers=condition)
    assert answer.status_code == 200
    assert answer.json()["phase"] == "training"
    assert answer.json()["queue_position"] is None
    progress = {"step": 13, "total_steps": 33, "seconds_per_step": 0.5, "eta_seconds": 10.0, "loss": 0.25}
    assert answer.json()["progress"] == progress


def test_the_end_of_a_job(server: Server, client: httpx.Client) -> None:
    lineage, job = training(client)
    teach(server, {"id": job}, seed=1)
    answer = client.get(f"/v1/jobs/{job}")
    assert "Retry-After" not in answer.headers
    assert answer.json()["result"] == {"lineage_id": lineage, "version": 1}
    assert client.post(f"/v1/jobs/{job}/cancel").status_code == 409
    assert client.get(f"/v1/jobs/{job}").json()["status"] == "succeeded"


def test_canceling_a_queued_job(client: httpx.Client) -> None:
    _, job = training(client)
    answers = [client.post(f"/v1/jobs/{job}/cancel") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["status"] == "canceled"
    assert answers[0].json()["finished_at"] is not None


def test_canceling_a_running_job(server: Server, client: httpx.Client) -> None:
    _, job = training(client)
    start(server, job)
    answers = [client.post(f"/v1/jobs/{job}/cancel") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["status"] == "running"
    assert answers[0].json()["cancel_requested_at"] == answers[1].json()["cancel_requested_at"] is not None


def test_filters_and_pages(server: Server, client: httpx.Client) -> None:
    lineage, train = training(client)
    other = new_lineage(client)
    drawn = [
        client.post("/v1/generations", json={"lineage_id": other, "prompt": "a cat"}).json()["id"] for _ in range(5)
    ]
    start(server, train)

    def listed(query: str) -> list[str]:
        return [job["id"] for job in client.get(f"/v1/jobs?{query}").json()["items"]]

    assert listed("kind=train") == [train]
    assert listed("status=running") == [train]
    assert listed(f"lineage_id={lineage}") == [train]
    assert listed("kind=generate") == drawn[::-1]
    assert listed("kind=generate&status=running") == []
    first = client.get("/v1/jobs?limit=4").json()
    last = client.get(f"/v1/jobs?limit=4&cursor={first['next_cursor']}").json()
    assert [job["id"] for job in first["items"]] == drawn[:0:-1]
    assert [job["id"] for job in last["items"]] == [drawn[0], train]
    assert last["next_cursor"] is None
