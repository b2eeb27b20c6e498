"""What is somebody else's is as unknown as what never was, and what is deleted as well."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest

from tests.integration.api.inputs import new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import publish_pictures, start, teach


@dataclass(frozen=True)
class Belongings:
    """One of everything, and its owner."""

    owner: httpx.Client
    key: str
    concept: str
    lineage: str
    train_job: str
    generation: str
    generate_job: str

    def paths(self) -> dict[str, list[str]]:
        """What the owner may do, by method."""
        versions = f"/v1/lineages/{self.lineage}/versions"
        return {
            "GET": [
                f"/v1/concepts/{self.concept}",
                f"/v1/concepts/{self.concept}/images/0",
                f"/v1/lineages/{self.lineage}",
                versions,
                f"{versions}/0",
                f"{versions}/1",
                f"{versions}/1/adapter",
                f"/v1/jobs/{self.train_job}",
                f"/v1/jobs/{self.generate_job}",
                f"/v1/generations/{self.generation}",
                f"/v1/generations/{self.generation}/images/0",
            ],
            "DELETE": [
                f"/v1/generations/{self.generation}",
                f"/v1/lineages/{self.lineage}",
                f"/v1/concepts/{self.concept}",
                f"/v1/keys/{self.key}",
            ],
        }


@pytest.fixture
def belongings(server: Server, new_client: Callable[[], httpx.Client]) -> Belongings:
    owner = new_client()
    concept, lineage = new_concept(owner, "rex"), new_lineage(owner)
    train = owner.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": concept}).json()
    teach(server, train, seed=1)
    generate = owner.post("/v1/generations", json={"lineage_id": lineage, "prompt": "<rex>"}).json()
    publish_pictures(server, generate["id"], 1)
    key = owner.post("/v1/keys", json={"name": "spare"}).json()["id"]
    return Belongings(
        owner, key, concept, lineage, train["id"], generate["result"]["generation_id"], generate["id"]
    )  # fmt: skip


def test_a_stranger_finds_nothing(belongings: Belongings, client: httpx.Client) -> None:
    mine, theirs = new_lineage(client), belongings
    for method, paths in belongings.paths().items():
        for path in paths:
            answer = client.request(method, path)
            assert (answer.status_code, path) == (404, path)
    posts = {
        f"/v1/jobs/{theirs.train_job}/cancel": {},
        f"/v1/lineages/{theirs.lineage}/versions": {"concept_id": new_concept(client, "max")},
        f"/v1/lineages/{mine}/versions": {"concept_id": theirs.concept},
        "/v1/generations": {"lineage_id": theirs.lineage, "prompt": "a cat"},
    }
    for path, body in posts.items():
        assert client.post(path, json=body).status_code == 404
    assert client.patch(f"/v1/lineages/{theirs.lineage}", json={"name": "mine"}).status_code == 404
    assert client.delete(f"/v1/users/{uuid4()}").status_code == 403
    for kind in ("concepts", "generations", "jobs"):
        listed = [entry["id"] for entry in client.get(f"/v1/{kind}").json()["items"]]
        assert not set(listed) & {theirs.concept, theirs.generation, theirs.train_job, theirs.generate_job}
    assert all(client.get(path).status_code == 404 for path in theirs.paths()["GET"])
    assert all(theirs.owner.get(path).status_code == 200 for path in theirs.paths()["GET"])


def test_what_is_deleted_is_gone(belongings: Belongings) -> None:
    owner = belongings.owner
    for path in belongings.paths()["DELETE"]:
        assert owner.delete(path).status_code == 204
        assert owner.delete(path).status_code == 404
    for path in belongings.paths()["GET"]:
        assert (owner.get(path).status_code, path) == (404, path)
    assert set(owner.get("/v1/me").json()["usage"].values()) == {0}
    new_concept(owner, "rex")


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
