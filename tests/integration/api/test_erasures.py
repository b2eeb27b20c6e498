"""Erasing over HTTP: what it would do is told before it starts, and what cannot be done is refused."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import delete, select, text, update

from app.db.session import transaction
from app.db.tables import ErasedVersion, Lineage, Version
from app.stack.waiting import becomes_true
from tests.integration.api.conftest import PATIENCE_SECONDS
from tests.integration.api.inputs import new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import publish_pictures, teach

Json = dict[str, Any]


def learn(server: Server, client: httpx.Client, lineage: str, concept: str) -> int:
    """A worker teaches the concept; the version's number."""
    job = client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": concept})
    assert job.status_code == 202, job.text
    return teach(server, job.json(), seed=1)


def erase(client: httpx.Client, lineage: str, concept: str, mode: str, query: str = "") -> httpx.Response:
    return client.post(f"/v1/lineages/{lineage}/erasures{query}", json={"concept_id": concept, "mode": mode})


@pytest.fixture
def grown(server: Server, client: httpx.Client) -> Json:
    """A lineage of rex and ink, and a branch from its first version that has learned max."""
    lineage = new_lineage(client)
    concepts = {name: new_concept(client, name) for name in ("rex", "ink", "max")}
    learn(server, client, lineage, concepts["rex"])
    body = {"from_version": 1, "name": "branch"}
    branch = client.post(f"/v1/lineages/{lineage}/branches", json=body).json()["id"]
    learn(server, client, lineage, concepts["ink"])
    learn(server, client, branch, concepts["max"])
    return {"lineage": lineage, "branch": branch, **concepts}


def test_the_plan_tells_what_happens_in_every_branch(server: Server, client: httpx.Client, grown: Json) -> None:
    drawn = client.post("/v1/generations", json={"lineage_id": grown["branch"], "prompt": "<rex>", "num_images": 3})
    publish_pictures(server, drawn.json()["id"], 3)
    before = server.contents()
    plan = erase(client, grown["branch"], grown["rex"], "retrain", "?dry_run=true")
    assert plan.status_code == 200, plan.text
    body = plan.json()
    assert {(v["lineage_id"], v["version"], v["is_made_anew"], v["steps"]) for v in body["versions"]} == {
        (grown["lineage"], 1, False, 0),
        (grown["lineage"], 2, True, 33),
        (grown["branch"], 2, True, 33),
    }
    assert {(h["lineage_id"], h["head_version"], h["becomes"]) for h in body["heads"]} == {
        (grown["lineage"], 2, None),
        (grown["branch"], 2, None),
    }
    assert (body["total_steps"], body["removed_generations"], body["removed_pictures"]) == (66, 1, 3)
    assert (body["is_residual"], body["removes_concept"], body["concept_kept_for"]) == (False, True, [])
    refold = erase(client, grown["lineage"], grown["rex"], "refold", "?dry_run=true").json()
    assert (refold["total_steps"], refold["estimated_seconds"], refold["is_residual"]) == (0, 0.0, True)
    last = erase(client, grown["lineage"], grown["ink"], "refold", "?dry_run=true").json()
    assert (last["is_residual"], last["heads"]) == (
        False, [{"lineage_id": grown["lineage"], "head_version": 2, "becomes": 1}]
    )  # fmt: skip
    assert server.contents() == before


def test_an_erasure_is_a_job_and_is_queued_once(server: Server, client: httpx.Client, grown: Json) -> None:
    answer = erase(client, grown["lineage"], grown["rex"], "refold")
    assert answer.status_code == 202
    job = answer.json()
    assert (job["kind"], job["status"], answer.headers["Location"]) == ("erase", "queued", f"/v1/jobs/{job['id']}")
    assert erase(client, grown["branch"], grown["rex"], "retrain").status_code == 409
    assert erase(client, grown["branch"], grown["ink"], "refold", "?dry_run=true").status_code == 200
    # Deleting the concept does not stop what erases it.
    client.delete(f"/v1/concepts/{grown['rex']}")
    assert client.get(f"/v1/jobs/{job['id']}").json()["status"] == "queued"
    assert client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 200
    assert server.contents()["versions"] >= 3


def test_what_cannot_be_erased(server: Server, client: httpx.Client, grown: Json) -> None:
    never = new_concept(client, "never")
    assert erase(client, grown["lineage"], never, "refold").status_code == 409
    assert erase(client, grown["lineage"], grown["lineage"], "refold").status_code == 404
    assert erase(client, grown["lineage"], grown["rex"], "forget").status_code == 422
    client.delete(f"/v1/concepts/{grown['max']}")
    assert erase(client, grown["lineage"], grown["rex"], "retrain").status_code == 409
    assert erase(client, grown["lineage"], grown["rex"], "refold", "?dry_run=true").status_code == 200
    with server.client(server.admin_key) as other:
        assert erase(other, grown["lineage"], grown["rex"], "refold").status_code == 404


@pytest.mark.parametrize("strategy", ["naive", "self_replay"])
def test_what_is_distilled_into_later_factors_is_not_folded_out(
    server: Server, client: httpx.Client, strategy: str
) -> None:
    lineage = new_lineage(client, strategy)
    first, second = (new_concept(client, name) for name in ("rex", "ink"))
    learn(server, client, lineage, first)
    learn(server, client, lineage, second)
    answer = erase(client, lineage, first, "refold")
    assert (answer.status_code, [fault["field"] for fault in answer.json()["errors"]]) == (422, ["mode"])
    assert erase(client, lineage, first, "retrain", "?dry_run=true").status_code == 200
    # Nothing follows the last one.
    assert erase(client, lineage, second, "refold", "?dry_run=true").status_code == 200


def test_an_erased_version_is_gone_and_its_token_is_not_given_again(
    server: Server, client: httpx.Client, grown: Json
) -> None:
    lineage = grown["lineage"]
    with transaction(server.engine) as session:
        session.add(ErasedVersion(lineage_id=UUID(lineage), number=7, token="tok3"))
    versions = f"/v1/lineages/{lineage}/versions"
    requests = [
        client.get(f"{versions}/7"),
        client.get(f"{versions}/7/adapter"),
        client.post(f"{versions}/7/reproduce"),
        client.post(f"{versions}/7/promote"),
        client.post("/v1/generations", json={"lineage_id": lineage, "version": 7, "prompt": "a cat"}),
        client.post(f"/v1/lineages/{lineage}/branches", json={"from_version": 7, "name": "x"}),
        client.post(f"/v1/lineages/{lineage}/rollback", json={"to_version": 7}),
    ]
    assert [(answer.status_code, answer.json().get("type")) for answer in requests] == [
        (410, "urn:palimpsest:problem:erased")
    ] * len(requests)
    assert client.get(f"/v1/lineages/{grown['branch']}/versions/7").status_code == 404
    tokens = []
    for name in ("a", "b"):
        number = learn(server, client, grown["branch"], new_concept(client, name))
        version = client.get(f"/v1/lineages/{grown['branch']}/versions/{number}").json()
        tokens.append(version["concept"]["token"])
    assert "tok3" not in tokens


def test_what_is_drawn_with_a_version_that_is_erased_just_then_is_refused(
    server: Server, client: httpx.Client, grown: Json
) -> None:
    """The request has found the version, and waits for its lock when it names it."""
    lineage = UUID(grown["lineage"])
    body = {"lineage_id": grown["lineage"], "version": 2, "prompt": "a cat"}
    with ThreadPoolExecutor(1) as pool:
        with transaction(server.engine) as session:
            gone = session.scalars(
                select(Version).where(Version.lineage_id == lineage, Version.number == 2).with_for_update()
            ).one()
            asked = pool.submit(client.post, "/v1/generations", json=body)
            _wait_for_a_lock(server)
            session.execute(update(Lineage).where(Lineage.id == lineage).values(head_version_id=gone.parent_id))
            session.execute(delete(Version).where(Version.id == gone.id))
        assert asked.result().status_code == 409, asked.result().text


def _wait_for_a_lock(server: Server) -> None:
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    def somebody_waits() -> bool:
        with server.engine.connect() as connection:
            return bool(connection.execute(waiting).scalar_one())

    assert becomes_true(somebody_waits, PATIENCE_SECONDS), "nobody waits"
