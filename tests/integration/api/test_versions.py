"""Versions and what they are for: drawing, and taking the adapter along."""

import json
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load

from tests.integration.api.inputs import new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import MODULES, publish_pictures, random_factors, teach


def taught(server: Server, client: httpx.Client, strategy: str, scale: float = 1.0) -> str:
    """A lineage that has learned an object, then a style."""
    lineage = new_lineage(client, strategy)
    for seed, (name, kind) in enumerate((("rex", "object"), ("ink", "style"))):
        body = {"concept_id": new_concept(client, name, kind)}
        job = client.post(f"/v1/lineages/{lineage}/versions", json=body).json()
        teach(server, job, seed, scale=scale)
    return lineage


def delta(seed: int, module: str) -> NDArray[np.float32]:
    factors = random_factors(seed, rank=4)
    product: NDArray[np.float32] = (
        factors[f"unet.{module}.lora_B.weight"] @ factors[f"unet.{module}.lora_A.weight"]
    )  # fmt: skip
    return product


def test_exports_stand_for_the_whole_version(server: Server, client: httpx.Client, tmp_path: Path) -> None:
    lineage = taught(server, client, "merge", scale=0.5)
    for number in (1, 2):
        answer = client.get(f"/v1/lineages/{lineage}/versions/{number}/adapter")
        assert answer.status_code == 200
        tensors = load(answer.content)
        for module in MODULES:
            product = tensors[f"unet.{module}.lora_B.weight"] @ tensors[f"unet.{module}.lora_A.weight"]
            expected = 0.5 * sum(delta(seed, module) for seed in range(number))
            np.testing.assert_allclose(product, expected, atol=1e-5)
    (tmp_path / "adapter.safetensors").write_bytes(answer.content)
    with safe_open(tmp_path / "adapter.safetensors", "numpy") as file:
        about = json.loads(file.metadata()["palimpsest"])
    origin, taught_concepts = about["origin"], about["taught"]
    assert (origin["lineage_id"], origin["version"]) == (lineage, 2)
    assert [link["concept"] for link in origin["history"]] == ["rex", "ink"]
    named = [(concept["name"], concept["token"], concept["class_noun"], concept["kind"]) for concept in taught_concepts]
    assert named == [("rex", "tok0", "dog", "object"), ("ink", "tok1", None, "style")]


def test_a_naive_export_is_the_last_adapter(server: Server, client: httpx.Client) -> None:
    lineage = taught(server, client, "naive")
    answer = client.get(f"/v1/lineages/{lineage}/versions/2/adapter?format=kohya")
    tensors = load(answer.content)
    assert tensors["lora_unet_mid_to_q.lora_down.weight"].shape == (4, 5)
    assert float(tensors["lora_unet_mid_to_q.alpha"]) == 4.0
    product = tensors["lora_unet_mid_to_q.lora_up.weight"] @ tensors["lora_unet_mid_to_q.lora_down.weight"]
    np.testing.assert_allclose(product, delta(1, "mid.to_q"), atol=1e-5)
    condition = {"If-None-Match": answer.headers["ETag"]}
    again = client.get(f"/v1/lineages/{lineage}/versions/2/adapter?format=kohya", headers=condition)
    assert again.status_code == 304


def test_a_magnitude_export_is_the_nearest_of_the_rank_asked_for(server: Server, client: httpx.Client) -> None:
    path = f"/v1/lineages/{taught(server, client, 'magnitude')}/versions/2/adapter"
    assert client.get(path).json()["errors"][0]["field"] == "max_rank"
    full, low = client.get(f"{path}?max_rank=64"), client.get(f"{path}?max_rank=2")
    assert full.headers["ETag"] != low.headers["ETag"]
    for module in MODULES:
        pair = load(full.content)
        found = pair[f"unet.{module}.lora_B.weight"] @ pair[f"unet.{module}.lora_A.weight"]
        one, two = delta(0, module), delta(1, module)
        np.testing.assert_allclose(found, np.where(abs(two) >= abs(one), two, one), atol=1e-4)
        assert load(low.content)[f"unet.{module}.lora_A.weight"].shape[0] == 2
    assert client.get(f"{path}?max_rank=0").status_code == 422


def test_isolated_concepts_are_exported_one_by_one(server: Server, client: httpx.Client) -> None:
    lineage = taught(server, client, "isolated")
    path = f"/v1/lineages/{lineage}/versions/2/adapter"
    for seed, name in enumerate(("rex", "ink")):
        tensors = load(client.get(f"{path}?concept={name}").content)
        for module in MODULES:
            product = tensors[f"unet.{module}.lora_B.weight"] @ tensors[f"unet.{module}.lora_A.weight"]
            np.testing.assert_allclose(product, delta(seed, module), atol=1e-5)
    for query in ("", "?concept=max"):
        answer = client.get(path + query)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "concept"
        assert "rex, ink" in answer.json()["detail"]
    assert client.get(f"/v1/lineages/{lineage}/versions/1/adapter").status_code == 200


def test_a_merged_version_has_no_adapter_of_one_concept(server: Server, client: httpx.Client) -> None:
    answer = client.get(f"/v1/lineages/{taught(server, client, 'merge')}/versions/2/adapter?concept=rex")
    assert answer.status_code == 422
    assert answer.json()["errors"][0] == {"field": "concept", "message": "only for strategy isolated"}


def test_what_has_no_adapter(client: httpx.Client) -> None:
    lineage = new_lineage(client)
    assert client.get(f"/v1/lineages/{lineage}/versions/0/adapter").status_code == 409
    assert client.get(f"/v1/lineages/{lineage}/versions/1/adapter").status_code == 404
    assert client.get(f"/v1/lineages/{lineage}/versions/1").status_code == 404
    assert client.get(f"/v1/lineages/{lineage}/versions/0/adapter?format=onnx").status_code == 422


def test_versions_are_listed_newest_first(server: Server, client: httpx.Client) -> None:
    lineage = taught(server, client, "merge")
    items = client.get(f"/v1/lineages/{lineage}/versions").json()["items"]
    assert [(item["version"], item["parent"]) for item in items] == [(2, 1), (1, 0), (0, None)]
    page = client.get(f"/v1/lineages/{lineage}/versions?limit=2").json()
    rest = client.get(f"/v1/lineages/{lineage}/versions?limit=2&cursor={page['next_cursor']}").json()
    assert page["items"] + rest["items"] == items


def test_a_prompt_knows_what_its_version_has_learned(server: Server, client: httpx.Client) -> None:
    lineage = taught(server, client, "merge")
    body = {"lineage_id": lineage, "prompt": r"<rex> in <ink>, 1 \< 2", "negative_prompt": "<ink>", "seed": 5}
    job = client.post("/v1/generations", json=body).json()
    generation = client.get(f"/v1/generations/{job['result']['generation_id']}").json()
    assert generation["version"] == 2
    assert generation["resolved_prompt"] == "tok0 dog in tok1 style, 1 < 2"
    assert generation["negative_prompt"] == "tok1 style"
    answer = client.post("/v1/generations", json={**body, "version": 1})
    assert answer.status_code == 422
    assert "<ink>" in answer.json()["detail"]
    assert "<rex>" in answer.json()["detail"]
    assert client.post("/v1/generations", json={**body, "version": 0, "prompt": "a cat"}).status_code == 422


def test_pictures(server: Server, client: httpx.Client) -> None:
    body = {"lineage_id": new_lineage(client), "prompt": "a cat", "num_images": 2}
    job = client.post("/v1/generations", json=body).json()
    pictures = publish_pictures(server, job["id"], 2)
    generation = client.get(f"/v1/generations/{job['result']['generation_id']}").json()
    assert generation["status"] == "succeeded"
    assert [client.get(entry["url"]).content for entry in generation["images"]] == pictures
    assert client.get(f"/v1/generations/{generation['id']}/images/2").status_code == 404
    assert 0 <= generation["seed"] < 2**53
    assert client.get("/v1/generations").json()["items"] == [generation]
