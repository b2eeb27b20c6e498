"""Strategies beyond plain merging, as a client meets them: their options, and what cannot be exported."""

import httpx
import pytest

from tests.integration.api.inputs import BASE, new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import teach


@pytest.mark.parametrize(
    ("options", "filled_in"),
    [
        ({"name": "magnitude"}, {}),
        ({"name": "c_lora", "lam": 0.5}, {}),
        (
            {"name": "self_replay", "mu": 0},
            {
                "lam": 1,
                "latents_per_concept": 4,
                "neutral_latents": 8,
                "sampling_steps": 20,
                "replay_batch_size": 2,
                "start": "gaussian",
            },
        ),
        ({"name": "orthogonal_merge"}, {"basis": "span", "freeze_a": False, "match_norm": False, "strict": False}),
        (
            {"name": "orthogonal_merge", "basis": "reference", "match_norm": True},
            {"freeze_a": False, "strict": False},
        ),
    ],
)
def test_a_lineage_keeps_its_strategys_options(
    client: httpx.Client, options: dict[str, object], filled_in: dict[str, object]
) -> None:
    answer = client.post("/v1/lineages", json={"name": "pets", "base_model": BASE, "strategy": options})
    assert answer.status_code == 201
    assert answer.json()["strategy"] == options | filled_in


def test_a_lineage_that_names_no_strategy_follows_the_listed_default(client: httpx.Client) -> None:
    listed = client.get("/v1/strategies").json()["items"]
    (default,) = [strategy["name"] for strategy in listed if strategy["default"]]
    unnamed = client.post("/v1/lineages", json={"name": "pets", "base_model": BASE}).json()
    body = {"name": "pets", "base_model": BASE, "strategy": {"name": default}}
    assert unnamed["strategy"] == client.post("/v1/lineages", json=body).json()["strategy"]


def test_by_default_objects_and_styles_are_learned_by_strategies_of_their_own(
    server: Server, client: httpx.Client
) -> None:
    lineage = client.post("/v1/lineages", json={"name": "pets", "base_model": BASE}).json()["id"]
    for seed, kind in enumerate(("object", "style", "object")):
        body = {"concept_id": new_concept(client, f"{kind}-{seed}", kind)}
        teach(server, client.post(f"/v1/lineages/{lineage}/versions", json=body).json(), seed)
    versions = [client.get(f"/v1/lineages/{lineage}/versions/{number}").json() for number in (1, 2, 3)]
    assert [version["strategy"]["name"] for version in versions] == ["self_replay", "merge", "self_replay"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "orthogonal_merge", "basis": "random"}, "'span', 'previous' or 'reference'"),
        ({"name": "orthogonal_merge", "match_norm": True}, "match_norm goes with basis 'reference' only"),
        ({"name": "orthogonal_merge", "basis": "reference", "strict": True}, "strict goes with the bases"),
        ({"name": "magnitude", "basis": "span"}, "Extra inputs"),
        ({"name": "c_lora", "lam": -1}, "greater than or equal to 0"),
        ({"name": "self_replay", "sampling_steps": 0}, "greater than or equal to 1"),
        ({"name": "self_replay", "lam": 1001}, "less than or equal to 1000"),
        ({"name": "by_kind", "styles": {"name": "self_replay", "lam": -1}}, "greater than or equal to 0"),
    ],
)
def test_options_that_do_not_fit_are_named(client: httpx.Client, options: dict[str, object], said: str) -> None:
    answer = client.post("/v1/lineages", json={"name": "pets", "base_model": BASE, "strategy": options})
    assert answer.status_code == 422
    assert said in answer.text


def test_a_magnitude_version_is_exported_exactly_while_it_has_factors(server: Server, client: httpx.Client) -> None:
    lineage = new_lineage(client, "magnitude")
    for seed, name in enumerate(("rex", "tom")):
        body = {"concept_id": new_concept(client, name)}
        teach(server, client.post(f"/v1/lineages/{lineage}/versions", json=body).json(), seed)
    assert client.get(f"/v1/lineages/{lineage}/versions/1/adapter").status_code == 200
    refused = client.get(f"/v1/lineages/{lineage}/versions/2/adapter")
    assert refused.status_code == 422
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert (
        "Strategy magnitude selects between its update and the earlier ones, weight by weight"
        in refused.json()["detail"]
    )
