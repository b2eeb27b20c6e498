"""A foreign client that knows only design.md, as far as the front end goes alone."""

import io
from collections.abc import Callable

import httpx
from PIL import Image

from app.version import VERSION
from tests.integration.api.inputs import BASE, WIDE, files, image, new_concept, new_lineage
from tests.integration.api.state import Server

JOB_FIELDS = {
    "id", "kind", "status", "phase", "progress", "queue_position", "attempt", "error", "result", "cancel_requested_at",
    "created_at", "started_at", "finished_at",
}  # fmt: skip


def test_health(server: Server) -> None:
    assert httpx.get(f"{server.url}/health/live").json() == {"status": "ok", "version": VERSION}
    answer = httpx.get(f"{server.url}/health/ready")
    assert answer.json() == {"status": "ready", "version": VERSION, "postgres": True, "storage": True, "broker": True}


def test_a_concept_comes_back_as_pictures(client: httpx.Client) -> None:
    fields = {"name": "rex", "kind": "object", "class_noun": "dog"}
    answer = client.post("/v1/concepts", data=fields, files=files(image(), image(form="JPEG"), image(form="WEBP")))
    assert answer.status_code == 201
    concept = answer.json()
    assert answer.headers["Location"] == f"/v1/concepts/{concept['id']}"
    assert [entry["position"] for entry in concept["images"]] == [0, 1, 2]
    assert client.get(answer.headers["Location"]).json() == concept
    picture = client.get(concept["images"][1]["url"])
    assert picture.headers["Content-Type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size == (24, 16)
    again = client.get(concept["images"][1]["url"], headers={"If-None-Match": picture.headers["ETag"]})
    assert again.status_code == 304


def test_a_lineage_starts_at_the_base(client: httpx.Client) -> None:
    body = {"name": "pets", "base_model": BASE, "strategy": {"name": "merge"}, "training": {"steps": 7}}
    lineage = client.post("/v1/lineages", json=body).json()
    assert lineage["head_version"] == 0
    assert (lineage["training"]["steps"], lineage["training"]["rank"]) == (7, 4)
    assert lineage["training"]["resolution"] == 64
    versions = client.get(f"/v1/lineages/{lineage['id']}/versions").json()
    assert [(entry["version"], entry["parent"], entry["adapter"]) for entry in versions["items"]] == [(0, None, None)]


def test_training_and_drawing_are_answered_with_jobs(client: httpx.Client) -> None:
    lineage, concept = new_lineage(client), new_concept(client, "rex")
    answer = client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": concept})
    assert answer.status_code == 202
    job = answer.json()
    assert set(job) == JOB_FIELDS
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["status"], job["progress"]["total_steps"]) == ("train", "queued", 33)

    answer = client.post("/v1/generations", json={"lineage_id": lineage, "prompt": "a cat"})
    assert answer.status_code == 202
    generation = client.get(f"/v1/generations/{answer.json()['result']['generation_id']}").json()
    assert generation["job_id"] == answer.json()["id"]
    assert (generation["version"], generation["steps"], generation["guidance_scale"]) == (0, 12, 3.5)
    assert (generation["width"], generation["height"]) == (64, 64)
    assert generation["images"] == []
    assert client.get(f"/v1/generations/{generation['id']}/images/0").status_code == 404


def test_a_base_with_a_canvas_draws_other_sizes(client: httpx.Client) -> None:
    shown = next(base for base in client.get("/v1/base-models").json()["items"] if base["name"] == WIDE)
    assert shown["manifest"]["canvas"] == {"min_side": 64, "max_side": 128, "multiple": 32}
    lineage = new_lineage(client, base_model=WIDE)
    for size, expected in (({"width": 128}, (128, 64)), ({"width": 96, "height": 128}, (96, 128)), ({}, (64, 64))):
        job = client.post("/v1/generations", json={"lineage_id": lineage, "prompt": "a cat", **size}).json()
        generation = client.get(f"/v1/generations/{job['result']['generation_id']}").json()
        assert (generation["width"], generation["height"]) == expected
    for size in ({"width": 160}, {"height": 72}):
        refused = client.post("/v1/generations", json={"lineage_id": lineage, "prompt": "a cat", **size})
        assert refused.status_code == 422
        assert [fault["field"] for fault in refused.json()["errors"]] == list(size)


def test_me_counts(client: httpx.Client, new_client: Callable[[], httpx.Client]) -> None:
    lineage, concept = new_lineage(client), new_concept(client, "rex")
    client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": concept})
    usage = {"concepts": 1, "lineages": 1, "versions": 0, "generations": 0, "unfinished_jobs": 1}
    shown = client.get("/v1/me").json()["usage"]
    assert shown == usage | {"images": 2, "stored_bytes": shown["stored_bytes"], "gpu_seconds": 0}
    assert shown["stored_bytes"] > 0
    assert set(new_client().get("/v1/me").json()["usage"].values()) == {0}
