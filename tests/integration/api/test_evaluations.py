"""Evaluations as their owners ask for them and read them; what workers do is tested with them."""

import csv
import io
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from app.db.evaluation_tables import Evaluation
from app.db.session import transaction
from tests.integration.api.inputs import BASE, new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import EVALUATION_RESULT, publish_evaluation, start, teach

Json = dict[str, Any]


def taught_lineage(server: Server, client: httpx.Client) -> str:
    """A lineage whose version 1 has learned a concept."""
    lineage = new_lineage(client)
    concept = new_concept(client, server.unique("rex"))
    teach(server, client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": concept}).json(), seed=1)
    return lineage


def submit(client: httpx.Client, lineage: str, **body: Any) -> Json:
    answer = client.post(f"/v1/lineages/{lineage}/evaluations", json=body)
    assert answer.status_code == 202, answer.text
    submitted: Json = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{submitted['id']}"
    return submitted


def test_an_evaluation_is_there_at_once_and_fills_when_its_job_has_succeeded(
    server: Server, client: httpx.Client
) -> None:
    lineage = taught_lineage(server, client)
    job = submit(client, lineage, isolated=True, options={"samples_per_prompt": 2, "steps": 5})
    assert (job["kind"], job["status"]) == ("evaluate", "queued")
    path = f"/v1/evaluations/{job['result']['evaluation_id']}"
    waiting = client.get(path).json()
    assert (waiting["version"], waiting["isolated"], waiting["result"], waiting["files"]) == (1, True, None, [])
    assert (waiting["protocol"]["samples_per_prompt"], waiting["protocol"]["steps"]) == (2, 5)
    for missing in (f"{path}.csv", f"{path}/heatmap.png"):
        assert client.get(missing).status_code == 404

    heatmap = publish_evaluation(server, job)
    found = client.get(path).json()
    assert (found["status"], found["result"]) == ("succeeded", EVALUATION_RESULT)
    assert [file["url"] for file in found["files"]] == [f"{path}/heatmap.png"]
    answer = client.get(f"{path}/heatmap.png")
    assert (answer.content, answer.headers["content-type"]) == (heatmap, "image/png")
    again = client.get(f"{path}/heatmap.png", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304
    assert client.get(f"{path}/sheet.svg").status_code == 404
    assert client.get(f"{path}/secrets.txt").status_code == 422


def test_the_csv_has_a_line_for_each_cell_and_leaves_undefined_ones_empty(server: Server, client: httpx.Client) -> None:
    job = submit(client, taught_lineage(server, client))
    publish_evaluation(server, job)
    answer = client.get(f"/v1/evaluations/{job['result']['evaluation_id']}.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    first, second = (
        [(line["version"], line["concept"], line["score"]) for line in lines if line["encoder"] == encoder]
        for encoder in ("lite0-what", "icons-64-what")
    )
    assert first == [
        ("0", "rex", "0.25"),
        ("1", "rex", "0.75"),
        ("isolated", "rex", "0.875"),
        ("real", "rex", "0.95"),
        ("real_through_vae", "rex", "0.9"),
    ]
    # The outside encoder comes first, and ours has lines of its own.
    assert second == [
        ("0", "rex", "0.5"),
        ("1", "rex", "0.625"),
        ("real", "rex", "0.99"),
        ("real_through_vae", "rex", ""),
    ]
    assert len(lines) == len(first) + len(second)
    assert [line["self_retention"] for line in lines] == ["", "1.0", "", "", "", "", "1.0", "", ""]


def test_the_list_is_the_users_own_and_can_be_that_of_a_lineage(
    server: Server, client: httpx.Client, new_client: Callable[[], httpx.Client]
) -> None:
    lineages = [taught_lineage(server, client) for _ in range(2)]
    jobs = [submit(client, lineage) for lineage in lineages]
    ids = [job["result"]["evaluation_id"] for job in jobs]
    listed = client.get("/v1/evaluations", params={"limit": 1}).json()
    assert [entry["id"] for entry in listed["items"]] == [ids[1]]
    rest = client.get("/v1/evaluations", params={"cursor": listed["next_cursor"]}).json()
    assert [entry["id"] for entry in rest["items"]] == [ids[0]]
    of_one = client.get("/v1/evaluations", params={"lineage_id": lineages[0]}).json()
    assert [entry["id"] for entry in of_one["items"]] == [ids[0]]
    assert new_client().get("/v1/evaluations").json()["items"] == []


def test_a_stranger_finds_nothing(server: Server, client: httpx.Client, new_client: Callable[[], httpx.Client]) -> None:
    lineage = taught_lineage(server, client)
    job = submit(client, lineage)
    publish_evaluation(server, job)
    stranger, path = new_client(), f"/v1/evaluations/{job['result']['evaluation_id']}"
    for own in (path, f"{path}.csv", f"{path}/heatmap.png"):
        assert (client.get(own).status_code, stranger.get(own).status_code) == (200, 404)
    assert stranger.delete(path).status_code == 404
    assert stranger.post(f"/v1/lineages/{lineage}/evaluations", json={}).status_code == 404
    assert client.get(path).status_code == 200


def test_what_is_deleted_is_gone_and_its_job_canceled(server: Server, client: httpx.Client) -> None:
    lineage = taught_lineage(server, client)
    job = submit(client, lineage)
    path = f"/v1/evaluations/{job['result']['evaluation_id']}"
    assert [client.delete(path).status_code for _ in range(2)] == [204, 404]
    assert client.get(path).status_code == 404
    assert client.get(f"/v1/jobs/{job['id']}").json()["status"] == "canceled"
    other = submit(client, lineage)
    client.delete(f"/v1/lineages/{lineage}")
    assert client.get(f"/v1/evaluations/{other['result']['evaluation_id']}").status_code == 404


def test_an_evaluation_that_a_gate_waits_for_cannot_be_deleted(server: Server, client: httpx.Client) -> None:
    lineage = taught_lineage(server, client)
    evaluate = submit(client, lineage)
    concept = new_concept(client, "max")
    train = client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": concept}).json()
    start(server, train["id"])
    evaluation_id = evaluate["result"]["evaluation_id"]
    with transaction(server.engine) as session:
        session.get_one(Evaluation, UUID(evaluation_id)).job_id = UUID(train["id"])
    answer = client.delete(f"/v1/evaluations/{evaluation_id}")
    assert answer.status_code == 409
    assert train["id"] in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"version": 0}, "version"),
        ({"version": 9}, "version"),
        ({"options": {"samples_per_prompt": 0}}, "options.samples_per_prompt"),
        ({"options": {"steps": 1000}}, "options.steps"),
        ({"options": {"object_prompts": ["a photo of a dog"]}}, "options.object_prompts.0"),
        ({"options": {"style_prompts": []}}, "options.style_prompts"),
        ({"options": {"colour": "red"}}, "options.colour"),
    ],
)
def test_bad_input_names_the_field(server: Server, client: httpx.Client, body: Json, field: str) -> None:
    answer = client.post(f"/v1/lineages/{taught_lineage(server, client)}/evaluations", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_one_idempotency_key_makes_one_evaluation(server: Server, client: httpx.Client) -> None:
    path = f"/v1/lineages/{taught_lineage(server, client)}/evaluations"
    headers = {"Idempotency-Key": str(uuid4())}
    answers = [client.post(path, json={}, headers=headers) for _ in range(2)]
    assert answers[0].text == answers[1].text
    assert len(client.get("/v1/evaluations").json()["items"]) == 1


def test_a_lineage_carries_how_its_versions_are_evaluated(client: httpx.Client) -> None:
    gate = {"metric": "self_retention", "max_loss": 0.05}
    body = {"name": "pets", "base_model": BASE, "strategy": {"name": "merge"}, "evaluation": {"gate": gate}}
    created = client.post("/v1/lineages", json=body).json()
    assert created["evaluation"]["gate"] == gate
    assert not created["evaluation"]["after_training"]
    path = f"/v1/lineages/{created['id']}"
    changed = client.patch(path, json={"evaluation": {"after_training": True}}).json()
    assert (changed["name"], changed["evaluation"]["after_training"], changed["evaluation"]["gate"]) == (
        "pets",
        True,
        None,
    )
    assert client.get(path).json() == changed
    branch = client.post(f"{path}/branches", json={"from_version": 0, "name": "a branch"}).json()
    assert branch["evaluation"] == changed["evaluation"]
    bad = client.patch(path, json={"evaluation": {"gate": {"metric": "beauty", "max_loss": -1}}})
    assert {error["field"] for error in bad.json()["errors"]} == {
        "evaluation.gate.metric",
        "evaluation.gate.max_loss",
    }
