"""Forgetting, measured over HTTP: real processes, tiny sizes."""

import csv
import io
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.acceptance.foreign_client import ForeignClient, Json
from tests.acceptance.own_stack import own_stack
from tests.tiny_pipelines import write_tiny_sd

TRAINING = {"rank": 2, "steps": 6, "batch_size": 1}
FIGURES = {"heatmap.png", "curve.png", "curve.svg", "sheet.png", "sheet.svg"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignClient]:
    """A user on a stack of its own, over the tiny base."""
    folder = tmp_path_factory.mktemp("evaluation")
    write_tiny_sd(folder / "bases" / "tiny-sd")
    with own_stack(folder) as (_, user):
        yield user


def lineage_with(client: ForeignClient, evaluation: Json) -> str:
    body = {
        "name": "pets",
        "base_model": "tiny-sd",
        "strategy": {"name": "merge"},
        "training": TRAINING,
        "evaluation": evaluation,
    }
    return str(client.call("POST", "/v1/lineages", 201, json=body).json()["id"])


def evaluated(client: ForeignClient, lineage: str, **body: object) -> Json:
    job = client.call("POST", f"/v1/lineages/{lineage}/evaluations", 202, json=body).json()
    path = f"/v1/evaluations/{job['result']['evaluation_id']}"
    client.wait(job["id"], "succeeded")
    found: Json = client.call("GET", path, 200).json()
    return found


def test_a_lineage_is_evaluated_and_one_version_more_costs_one_row(client: ForeignClient) -> None:
    lineage = lineage_with(client, {})
    for name in ("dog", "vase"):
        client.wait(client.train(lineage, client.concept(name))["id"], "succeeded")
    first = evaluated(client, lineage, isolated=True, options={"samples_per_prompt": 2, "steps": 2})
    result, path = first["result"], f"/v1/evaluations/{first['id']}"
    assert [row["concept"] for row in result["versions"]] == [None, "dog", "vase"]
    assert [[cell is None for cell in row] for row in result["scores"]] == [[False] * 2, [False, True], [False] * 2]
    assert result["isolated"] is not None
    assert result["pictures_drawn"] == 14

    assert {file["name"] for file in first["files"]} == FIGURES
    for file in first["files"]:
        data = client.call("GET", file["url"], 200).content
        assert data.startswith(b"<?xml") or Image.open(io.BytesIO(data)).format == "PNG"
    lines = list(csv.DictReader(io.StringIO(client.call("GET", f"{path}.csv", 200).text)))
    drawn, ceilings = ["0", "0", "1", "1", "2", "2"], ["isolated", "real", "real_through_vae"]
    by_encoder = [*drawn, *(ceiling for ceiling in ceilings for _ in range(2))]
    assert [line["version"] for line in lines] == 2 * by_encoder

    client.wait(client.train(lineage, client.concept("cup"))["id"], "succeeded")
    second = evaluated(client, lineage, options={"samples_per_prompt": 2, "steps": 2})["result"]
    assert (second["pictures_drawn"], second["pictures_reused"]) == (8, 10)
    assert [row[:2] for row in second["scores"][:3]] == result["scores"]
    client.call("DELETE", path, 204)
    client.call("GET", path, 404)


def test_a_gate_says_what_a_version_costs_and_an_automatic_evaluation_follows(client: ForeignClient) -> None:
    gate = {"metric": "score", "max_loss": 0.0}
    lineage = lineage_with(client, {"gate": gate})
    first = client.wait(client.train(lineage, client.concept("cat"))["id"], "succeeded")
    assert first["result"]["gate"] == {**gate, "passed": True, "losses": []}
    second = client.wait(client.train(lineage, client.concept("bell"))["id"], "succeeded")
    verdict = second["result"]["gate"]
    lost = verdict["losses"][0]
    assert lost["concept"] == "cat"
    assert verdict["passed"] == (lost["loss"] <= 0)
    status = client.version(lineage, 2)["status"]
    assert status == ("live" if verdict["passed"] else "held")
    head = client.call("GET", f"/v1/lineages/{lineage}", 200).json()["head_version"]
    assert head == (2 if verdict["passed"] else 1)
    scores = client.call("GET", f"/v1/evaluations/{second['result']['evaluation_id']}", 200).json()["result"]["scores"]
    assert lost["loss"] == pytest.approx(scores[1][0] - scores[2][0])

    client.call("PATCH", f"/v1/lineages/{lineage}", 200, json={"evaluation": {"after_training": True}})
    third = client.wait(client.train(lineage, client.concept("jar"))["id"], "succeeded")
    assert "gate" not in third["result"]
    evaluation = client.call("GET", f"/v1/evaluations/{third['result']['evaluation_id']}", 200).json()
    client.wait(evaluation["job_id"], "succeeded")
