"""Branches, rollbacks, held versions and comparisons, over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
from safetensors.numpy import load

from tests.integration.api.inputs import new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import adapter_bytes, publish_version, random_factors, start, teach

Json = dict[str, Any]


def submit(client: httpx.Client, lineage: str, concept: str, **training: object) -> httpx.Response:
    return client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": concept, "training": training})


def learn(server: Server, client: httpx.Client, lineage: str, concept: str, **training: object) -> int:
    """The number of the version that has learned the concept."""
    answer = submit(client, lineage, concept, **training)
    assert answer.status_code == 202, answer.text
    return teach(server, answer.json(), seed=1, rank=4)


def branch(client: httpx.Client, lineage: str, from_version: int, **more: object) -> httpx.Response:
    body = {"from_version": from_version, "name": "branch", **more}
    return client.post(f"/v1/lineages/{lineage}/branches", json=body)


def roll_back(client: httpx.Client, lineage: str, to_version: int) -> httpx.Response:
    return client.post(f"/v1/lineages/{lineage}/rollback", json={"to_version": to_version})


def promote(client: httpx.Client, lineage: str, number: int) -> httpx.Response:
    return client.post(f"/v1/lineages/{lineage}/versions/{number}/promote")


def compare(client: httpx.Client, lineage: str, from_version: int, to_version: int) -> httpx.Response:
    return client.get(f"/v1/lineages/{lineage}/compare?from={from_version}&to={to_version}")


def history(client: httpx.Client, lineage: str) -> dict[int, Json]:
    """Its versions by number."""
    items = client.get(f"/v1/lineages/{lineage}/versions").json()["items"]
    assert len({item["version"] for item in items}) == len(items)
    return {item["version"]: item for item in items}


def draw(client: httpx.Client, lineage: str, version: int, prompt: str) -> httpx.Response:
    return client.post("/v1/generations", json={"lineage_id": lineage, "version": version, "prompt": prompt})


@pytest.fixture
def concepts(client: httpx.Client) -> dict[str, str]:
    return {name: new_concept(client, name) for name in ("rex", "max", "tom", "kit")}


@pytest.fixture
def lineage(server: Server, client: httpx.Client, concepts: dict[str, str]) -> str:
    """Version 1 has learned rex, version 2 max as well."""
    lineage = new_lineage(client)
    assert [learn(server, client, lineage, concepts[name]) for name in ("rex", "max")] == [1, 2]
    return lineage


def test_a_branch_shares_a_version_and_its_ancestors(
    server: Server, client: httpx.Client, lineage: str, concepts: dict[str, str]
) -> None:
    answer = branch(client, lineage, 1, strategy={"name": "naive"}, training={"steps": 5})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["Location"] == f"/v1/lineages/{made['id']}"
    assert (made["head_version"], made["forked_from_version"], made["strategy"]) == (1, 1, {"name": "naive"})
    # What the branch leaves out is the original's, not the base's.
    assert made["training"] == client.get(f"/v1/lineages/{lineage}").json()["training"] | {"steps": 5}

    assert learn(server, client, made["id"], concepts["tom"]) == 2
    assert learn(server, client, lineage, concepts["tom"]) == 3
    shown = history(client, made["id"])
    assert {number: item["parent"] for number, item in shown.items()} == {0: None, 1: 0, 2: 1}
    assert {number: item["owner_lineage_id"] for number, item in shown.items()} == {
        0: lineage,
        1: lineage,
        2: made["id"],
    }
    assert {item["lineage_id"] for item in shown.values()} == {made["id"]}
    # A token is unique in each history; which the other has given is nothing to this one.
    assert shown[2]["concept"]["token"] == "tok1"
    assert history(client, lineage)[3]["concept"]["token"] == "tok2"


def test_what_a_branch_can_draw_and_download(
    server: Server, client: httpx.Client, lineage: str, concepts: dict[str, str]
) -> None:
    made = branch(client, lineage, 1).json()["id"]
    learn(server, client, made, concepts["tom"])
    assert draw(client, made, 1, "<rex>").status_code == 202
    assert draw(client, made, 2, "<rex> and <tom>").status_code == 202
    assert draw(client, made, 2, "<max>").status_code == 422
    assert draw(client, made, 3, "a cat").status_code == 422
    ours, theirs = (load(client.get(f"/v1/lineages/{id_}/versions/1/adapter").content) for id_ in (made, lineage))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        np.testing.assert_array_equal(tensor, theirs[name])
    assert client.get(f"/v1/lineages/{made}/versions/2/adapter").status_code == 200


def test_a_branch_of_a_branch_and_of_the_base(
    server: Server, client: httpx.Client, lineage: str, concepts: dict[str, str]
) -> None:
    made = branch(client, lineage, 1).json()["id"]
    learn(server, client, made, concepts["tom"])
    twig = branch(client, made, 2).json()["id"]
    assert learn(server, client, twig, concepts["max"]) == 3
    assert [history(client, twig)[number]["owner_lineage_id"] for number in range(4)] == [lineage, lineage, made, twig]
    fresh = branch(client, twig, 0).json()
    assert (fresh["head_version"], fresh["forked_from_version"]) == (0, 0)
    assert learn(server, client, fresh["id"], concepts["rex"]) == 1


def test_branches_that_cannot_be(client: httpx.Client, lineage: str) -> None:
    for body, field in (
        ({"from_version": 3}, "from_version"),
        ({"from_version": -1}, "from_version"),
        ({"strategy": {"name": "magic"}}, "strategy"),
        ({"training": {"rank": 0}}, "training.rank"),
        ({"training": {"lr_scheduler": "piecewise_constant"}}, "training"),
        ({"name": " "}, "name"),
        ({"base_model": "other"}, "base_model"),
    ):
        answer = client.post(f"/v1/lineages/{lineage}/branches", json={"from_version": 1, "name": "b"} | body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["field"].startswith(field)
    assert len(client.get("/v1/lineages").json()["items"]) == 1


def test_the_original_may_go_while_the_branch_lives(
    server: Server, client: httpx.Client, lineage: str, concepts: dict[str, str]
) -> None:
    made = branch(client, lineage, 1).json()["id"]
    assert client.delete(f"/v1/lineages/{lineage}").status_code == 204
    assert client.get(f"/v1/lineages/{lineage}/versions/1").status_code == 404
    assert client.get(f"/v1/lineages/{made}/versions/1/adapter").status_code == 200
    assert draw(client, made, 1, "<rex>").status_code == 202
    assert learn(server, client, made, concepts["tom"]) == 2
    assert branch(client, lineage, 1).status_code == 404


def test_a_rollback_moves_the_head_and_training_on_forks(
    server: Server, client: httpx.Client, lineage: str, concepts: dict[str, str]
) -> None:
    answer = roll_back(client, lineage, 1)
    assert (answer.status_code, answer.json()["head_version"]) == (200, 1)
    assert {number: item["on_head_path"] for number, item in history(client, lineage).items()} == {
        0: True,
        1: True,
        2: False,
    }
    # Version 2 is left aside, so that its concept may be taught again; its number and its token are not given again.
    assert learn(server, client, lineage, concepts["max"]) == 3
    shown = history(client, lineage)
    assert {number: item["parent"] for number, item in shown.items()} == {0: None, 1: 0, 2: 1, 3: 1}
    assert [shown[number]["concept"]["token"] for number in (1, 2, 3)] == ["tok0", "tok1", "tok2"]
    assert {item["status"] for item in shown.values()} == {"live"}
    assert draw(client, lineage, 2, "<max>").status_code == 202


def test_rollbacks_and_promotions_that_make_no_sense(client: httpx.Client, lineage: str) -> None:
    assert roll_back(client, lineage, 2).status_code == 409
    answer = roll_back(client, lineage, 9)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "to_version")
    assert promote(client, lineage, 9).status_code == 404
    assert "head already" in promote(client, lineage, 2).json()["detail"]
    assert "roll back" in promote(client, lineage, 1).json()["detail"]
    assert roll_back(client, lineage, 0).status_code == 200
    answer = roll_back(client, lineage, 2)
    assert (answer.status_code, "promote" in answer.json()["detail"]) == (409, True)
    promoted = promote(client, lineage, 2).json()
    assert (promoted["version"], promoted["status"], promoted["on_head_path"]) == (2, "live", True)
    assert client.get(f"/v1/lineages/{lineage}").json()["head_version"] == 2


def held(server: Server, client: httpx.Client, lineage: str, concept: str) -> int:
    """A version whose lineage was rolled back to 0 while it was trained; its number."""
    job = submit(client, lineage, concept).json()
    start(server, job["id"])
    assert roll_back(client, lineage, 0).status_code == 200
    return publish_version(server, job["id"], adapter_bytes(random_factors(3, 4), 1.0))


def test_a_held_version_can_be_drawn_promoted_and_branched(
    server: Server, client: httpx.Client, lineage: str, concepts: dict[str, str]
) -> None:
    number = held(server, client, lineage, concepts["tom"])
    shown = history(client, lineage)[number]
    assert (shown["version"], shown["parent"], shown["status"], shown["on_head_path"]) == (3, 2, "held", False)
    assert client.get(f"/v1/lineages/{lineage}").json()["head_version"] == 0
    assert draw(client, lineage, 3, "<rex>, <max> and <tom>").status_code == 202
    assert client.get(f"/v1/lineages/{lineage}/versions/3/adapter").status_code == 200

    # A branch was made from it, so that there it is as live as any.
    made = branch(client, lineage, 3).json()["id"]
    assert (history(client, made)[3]["status"], history(client, lineage)[3]["status"]) == ("live", "held")
    key = {"Idempotency-Key": str(uuid4())}
    answers = [client.post(f"/v1/lineages/{lineage}/versions/3/promote", headers=key) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["status"] == history(client, lineage)[3]["status"] == "live"
    assert learn(server, client, lineage, concepts["kit"]) == 4
    assert history(client, lineage)[4]["parent"] == 3


def test_unfinished_jobs_must_be_able_to_go_on_from_the_new_head(
    server: Server, client: httpx.Client, lineage: str, concepts: dict[str, str]
) -> None:
    roll_back(client, lineage, 1)
    again = submit(client, lineage, concepts["max"]).json()
    answer = promote(client, lineage, 2)
    assert (answer.status_code, "max" in answer.json()["detail"]) == (409, True)
    client.post(f"/v1/jobs/{again['id']}/cancel")
    other = submit(client, lineage, concepts["tom"]).json()
    assert promote(client, lineage, 2).status_code == 200
    assert teach(server, other, seed=1) == 3
    assert history(client, lineage)[3]["parent"] == 2


def test_a_naive_run_keeps_its_shape_wherever_the_head_goes(
    server: Server, client: httpx.Client, concepts: dict[str, str]
) -> None:
    lineage = new_lineage(client, "naive")
    learn(server, client, lineage, concepts["rex"], rank=4)
    roll_back(client, lineage, 0)
    job = submit(client, lineage, concepts["max"], rank=2).json()
    answer = promote(client, lineage, 1)
    assert (answer.status_code, "max" in answer.json()["detail"]) == (409, True)
    client.post(f"/v1/jobs/{job['id']}/cancel")
    assert promote(client, lineage, 1).status_code == 200
    assert submit(client, lineage, concepts["max"], rank=2).status_code == 422
    # Under another strategy a branch trains an adapter of its own, of any shape.
    merging = branch(client, lineage, 1, strategy={"name": "merge"}, training={"rank": 2}).json()["id"]
    assert submit(client, merging, concepts["max"]).status_code == 202


def test_a_comparison(server: Server, client: httpx.Client, lineage: str, concepts: dict[str, str]) -> None:
    roll_back(client, lineage, 1)
    learn(server, client, lineage, concepts["tom"], seed=7, steps=9)
    learn(server, client, lineage, concepts["max"])
    compared = compare(client, lineage, 2, 3).json()
    assert (compared["from_version"], compared["to_version"], compared["common_ancestor"]) == (2, 3, 1)
    names = {
        side: [(entry["version"], entry["concept"]["name"]) for entry in compared[f"concepts_{side}"]]
        for side in ("gained", "lost")
    }
    assert names == {"gained": [(3, "tom")], "lost": [(2, "max")]}
    assert compared["differences"] == [
        {"field": "training.seed", "from_value": 0, "to_value": 7},
        {"field": "training.steps", "from_value": 33, "to_value": 9},
    ]
    # Learned again under another token it is another thing to a prompt that is resolved already.
    again = compare(client, lineage, 2, 4).json()
    assert [entry["version"] for entry in again["concepts_gained"]] == [3, 4]
    assert [entry["concept"]["token"] for entry in again["concepts_lost"]] == ["tok1"]
    base = compare(client, lineage, 1, 0).json()
    assert {"field": "strategy.name", "from_value": "merge", "to_value": None} in base["differences"]
    same = compare(client, lineage, 2, 2).json()
    assert (same["common_ancestor"], same["concepts_gained"], same["differences"]) == (2, [], [])


def test_bad_comparisons(client: httpx.Client, lineage: str) -> None:
    assert compare(client, lineage, 0, 9).json()["errors"][0]["field"] == "to"
    assert compare(client, lineage, 9, 0).json()["errors"][0]["field"] == "from"
    assert client.get(f"/v1/lineages/{lineage}/compare?from=1").status_code == 422
    assert compare(client, lineage, -1, 0).status_code == 422


def test_simultaneous_moves_leave_one_head(
    server: Server, client: httpx.Client, lineage: str, concepts: dict[str, str]
) -> None:
    moves = [lambda: roll_back(client, lineage, 0), lambda: promote(client, lineage, 2)] * 3
    moves += [lambda: submit(client, lineage, concepts["tom"]), lambda: branch(client, lineage, 2)]
    with ThreadPoolExecutor(len(moves)) as pool:
        answers = list(pool.map(lambda move: move(), moves))
    assert {answer.status_code for answer in answers[:6]} <= {200, 409}
    assert [answer.status_code for answer in answers[6:]] == [202, 201]
    head = client.get(f"/v1/lineages/{lineage}").json()["head_version"]
    assert head in (0, 2)
    assert teach(server, answers[6].json(), seed=1) == 3
    assert history(client, lineage)[3]["parent"] == head


def test_deleting_and_branching_at_once(client: httpx.Client, lineage: str) -> None:
    def act(number: int) -> int:
        if number == 3:
            return client.delete(f"/v1/lineages/{lineage}").status_code
        return branch(client, lineage, 1).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(act, range(6)))
    assert statuses[3] == 204
    made = client.get("/v1/lineages").json()["items"]
    assert statuses.count(201) == len(made)
    assert all(set(history(client, item["id"])) == {0, 1} for item in made)
