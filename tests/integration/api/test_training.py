"""Submitting versions: tokens, order, what is refused."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import select

from app.db.session import transaction
from app.db.tables import Job
from app.domain.jobs import TrainParams
from tests.integration.api.inputs import FEW_TOKENS, new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import start, teach


def submit(client: httpx.Client, lineage: str, concept: str, **training: object) -> httpx.Response:
    return client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": concept, "training": training})


def token_of(server: Server, job: dict[str, Any]) -> str:
    with transaction(server.engine) as session:
        params = session.scalars(select(Job.params).where(Job.id == UUID(job["id"]))).one()
    assert isinstance(params, TrainParams)
    return params.taught.token


def test_every_concept_of_a_lineage_gets_a_token_of_its_own(server: Server, client: httpx.Client) -> None:
    lineage = new_lineage(client)
    first = submit(client, lineage, new_concept(client, "rex")).json()
    second = submit(client, lineage, new_concept(client, "max")).json()
    assert [token_of(server, job) for job in (first, second)] == ["tok0", "tok1"]
    assert (first["queue_position"], second["queue_position"]) == (0, 1)

    teach(server, first, seed=1)
    version = client.get(f"/v1/lineages/{lineage}/versions/1").json()
    assert version["concept"]["token"] == "tok0"
    assert version["concept"]["name"] == "rex"
    assert version["parent"] == 0
    assert client.get(f"/v1/lineages/{lineage}").json()["head_version"] == 1
    # A canceled job gives its token back only when it is over.
    client.post(f"/v1/jobs/{second['id']}/cancel")
    third = submit(client, lineage, new_concept(client, "tom")).json()
    assert token_of(server, third) == "tok1"


def test_tokens_run_out(client: httpx.Client) -> None:
    lineage = new_lineage(client, base_model=FEW_TOKENS)
    assert submit(client, lineage, new_concept(client, "rex")).status_code == 202
    answer = submit(client, lineage, new_concept(client, "max"))
    assert answer.status_code == 409
    assert "rare tokens" in answer.json()["detail"]


def test_a_concept_is_taught_once(server: Server, client: httpx.Client) -> None:
    lineage, concept = new_lineage(client), new_concept(client, "rex")
    job = submit(client, lineage, concept).json()
    assert submit(client, lineage, concept).status_code == 409
    start(server, job["id"])
    assert submit(client, lineage, concept).status_code == 409
    teach(server, job, seed=1)
    assert submit(client, lineage, concept).status_code == 409
    # The name is what prompts go by, so another concept of that name is no better.
    client.delete(f"/v1/concepts/{concept}")
    assert submit(client, lineage, new_concept(client, "rex")).status_code == 409
    assert submit(client, new_lineage(client), new_concept(client, "max")).status_code == 202


def test_a_canceled_concept_may_come_again(client: httpx.Client) -> None:
    lineage, concept = new_lineage(client), new_concept(client, "rex")
    job = submit(client, lineage, concept).json()
    assert client.post(f"/v1/jobs/{job['id']}/cancel").json()["status"] == "canceled"
    assert submit(client, lineage, concept).status_code == 202


def test_a_naive_run_keeps_its_shape(server: Server, client: httpx.Client) -> None:
    lineage = new_lineage(client, "naive")
    concepts = [new_concept(client, name) for name in ("rex", "max", "tom")]
    job = submit(client, lineage, concepts[0], rank=2).json()
    assert submit(client, lineage, concepts[1], rank=3).status_code == 422
    teach(server, job, seed=1, rank=2)
    answer = submit(client, lineage, concepts[1])
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "training.rank"
    assert submit(client, lineage, concepts[1], rank=2).status_code == 202
    # A fresh adapter may have any shape.
    merging = new_lineage(client, "merge")
    assert submit(client, merging, concepts[0], rank=2).status_code == 202
    assert submit(client, merging, concepts[1], rank=3).status_code == 202


def test_bad_submissions(client: httpx.Client, new_client: Callable[[], httpx.Client]) -> None:
    lineage, concept = new_lineage(client), new_concept(client, "rex")
    foreign = new_concept(new_client(), "max")
    assert submit(client, lineage, foreign).status_code == 404
    assert submit(client, lineage, str(UUID(int=1))).status_code == 404
    for training in ({"rank": 0}, {"steps": 0}, {"lr_scheduler": "piecewise_constant"}, {"epochs": 1}):
        assert submit(client, lineage, concept, **training).status_code == 422
    assert client.get("/v1/jobs").json()["items"] == []


def test_simultaneous_submissions_take_turns(server: Server, client: httpx.Client) -> None:
    lineage = new_lineage(client)
    concepts = [new_concept(client, f"c{number}") for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda concept: submit(client, lineage, concept), concepts))
    assert {answer.status_code for answer in answers} == {202}
    assert len({token_of(server, answer.json()) for answer in answers}) == 6
    with ThreadPoolExecutor(6) as pool:
        other = new_lineage(client)
        answers = list(pool.map(lambda _: submit(client, other, concepts[0]), range(6)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409, 409]
