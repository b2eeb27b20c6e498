"""A POST sent twice with one Idempotency-Key acts once."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import httpx

from tests.equal_posts import assert_one_acted, post_equals
from tests.integration.api.inputs import BASE, files, image, new_concept, new_lineage
from tests.integration.api.state import Server

FIELDS = {"name": "rex", "kind": "object", "class_noun": "dog"}


def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


def test_the_first_answer_comes_again(client: httpx.Client) -> None:
    body = {"lineage_id": new_lineage(client), "prompt": "a cat"}
    headers = key()
    answers = [client.post("/v1/generations", json=body, headers=headers) for _ in range(3)]
    # Parsed fields count, not bytes: a default spelled out and another order make no other request.
    spelled = {"prompt": "a cat", "num_images": 1, "lineage_id": body["lineage_id"]}
    answers.append(client.post("/v1/generations", json=spelled, headers=headers))
    assert {answer.status_code for answer in answers} == {202}
    assert {answer.text for answer in answers} == {answers[0].text}
    assert {answer.headers["Location"] for answer in answers} == {answers[0].headers["Location"]}
    assert len(client.get("/v1/jobs").json()["items"]) == 1


def test_another_body_is_refused(client: httpx.Client) -> None:
    lineage, headers = new_lineage(client), key()
    body = {"lineage_id": lineage, "prompt": "a cat"}
    assert client.post("/v1/generations", json=body, headers=headers).status_code == 202
    answer = client.post("/v1/generations", json={**body, "prompt": "a dog"}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    # So is the same key on another route.
    assert client.post("/v1/keys", json={"name": "laptop"}, headers=headers).status_code == 422


def test_a_failure_is_not_kept(client: httpx.Client) -> None:
    lineage, headers = new_lineage(client), key()
    body = {"lineage_id": lineage, "prompt": "a cat"}
    assert client.post("/v1/generations", json={**body, "version": 9}, headers=headers).status_code == 422
    assert client.post("/v1/generations", json=body, headers=headers).status_code == 202


def test_keys_of_two_users_do_not_meet(client: httpx.Client, new_client: Callable[[], httpx.Client]) -> None:
    headers, body = key(), {"name": "pets", "base_model": BASE, "strategy": {"name": "merge"}}
    answers = [own.post("/v1/lineages", json=body, headers=headers) for own in (client, new_client())]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] != answers[1].json()["id"]


def test_simultaneous_equals_make_one_job(server: Server, client: httpx.Client) -> None:
    lineage, concept = new_lineage(client), new_concept(client, "rex")
    path, secret = f"/v1/lineages/{lineage}/versions", client.headers["Authorization"].removeprefix("Bearer ")
    # `python -m tests.long.equal_posts` sends a thousand.
    assert_one_acted(asyncio.run(post_equals(server.url, secret, path, {"concept_id": concept}, 100)))
    assert len(client.get("/v1/jobs").json()["items"]) == 1


def test_an_upload_is_known_by_its_images(client: httpx.Client) -> None:
    headers = key()
    answers = [client.post("/v1/concepts", data=FIELDS, files=files(image()), headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].text == answers[1].text
    other = client.post("/v1/concepts", data=FIELDS, files=files(image(color="blue")), headers=headers)
    assert other.status_code == 422
    assert len(client.get("/v1/concepts").json()["items"]) == 1


def test_a_secret_is_never_kept(client: httpx.Client) -> None:
    headers = key()
    assert client.post("/v1/keys", json={"name": "laptop"}, headers=headers).status_code == 201
    answer = client.post("/v1/keys", json={"name": "laptop"}, headers=headers)
    assert answer.status_code == 409
    assert "secret" in answer.json()["detail"]
    assert len(client.get("/v1/keys").json()["items"]) == 2
