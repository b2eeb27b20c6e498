"""The whole of Palimpsest, end to end: real processes, driven over HTTP by a client that knows only the design."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load

from tests.acceptance.foreign_client import ForeignClient
from tests.acceptance.own_stack import own_stack
from tests.tiny_pipelines import write_tiny_sd


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignClient]:
    """A user on a stack of its own, over the tiny base."""
    folder = tmp_path_factory.mktemp("first-light")
    write_tiny_sd(folder / "bases" / "tiny-sd")
    with own_stack(folder) as (_, user):
        yield user


@pytest.mark.parametrize("strategy", ["naive", "merge"])
def test_upload_train_twice_generate_from_each_version_and_download(client: ForeignClient, strategy: str) -> None:
    concepts = [client.concept(f"{name}-{strategy}") for name in ("dog", "vase")]
    lineage = client.lineage(strategy, rank=2, steps=8, batch_size=1)
    jobs = [client.train(lineage, concept) for concept in concepts]
    for number, job in enumerate(jobs, start=1):
        done = client.wait(job["id"], "succeeded")
        assert done["result"] == {"lineage_id": lineage, "version": number}
        assert done["progress"]["step"] == done["progress"]["total_steps"] == 8
    assert client.call("GET", f"/v1/lineages/{lineage}", 200).json()["head_version"] == 2

    prompts = {0: "a photo of a toy", 1: f"a photo of <dog-{strategy}>", 2: f"a photo of <vase-{strategy}>"}
    drawn = {number: client.pictures(lineage, number, prompt) for number, prompt in prompts.items()}
    for number, pictures in drawn.items():
        picture = Image.open(io.BytesIO(pictures[0]))
        assert picture.size == (64, 64)
        assert json.loads(str(picture.info["palimpsest"]))["version"] == str(number)
    assert len({_pixels(picture) for pictures in drawn.values() for picture in pictures}) == 6
    again = client.pictures(lineage, 1, prompts[1])
    assert [_pixels(picture) for picture in again] == [_pixels(picture) for picture in drawn[1]]

    adapter = client.call("GET", f"/v1/lineages/{lineage}/versions/2/adapter?format=diffusers", 200).content
    ranks = {tensor.shape[0] for key, tensor in load(adapter).items() if key.endswith("lora_A.weight")}
    assert ranks == {2 if strategy == "naive" else 4}


def _pixels(picture: bytes) -> bytes:
    return Image.open(io.BytesIO(picture)).tobytes()


def test_an_unknown_concept_in_a_prompt_is_a_422_that_lists_the_known_ones(client: ForeignClient) -> None:
    lineage = client.lineage("merge", rank=2, steps=2, batch_size=1)
    client.wait(client.train(lineage, client.concept("cup"))["id"], "succeeded")
    body = {"lineage_id": lineage, "prompt": "a photo of <cap>"}
    problem = client.call("POST", "/v1/generations", 422, json=body)
    assert problem.headers["content-type"] == "application/problem+json"
    assert "<cup>" in problem.json()["detail"]


def test_a_running_job_can_be_canceled_and_the_worker_goes_on(client: ForeignClient) -> None:
    lineage = client.lineage("merge", rank=2, steps=20_000, batch_size=1)
    job = client.train(lineage, client.concept("bell"))
    client.wait_for_step(job["id"], 1)
    client.call("POST", f"/v1/jobs/{job['id']}/cancel", 202)
    assert client.wait(job["id"], "canceled")["cancel_requested_at"] is not None
    assert client.pictures(lineage, 0, "a photo of a toy")


def test_the_description_shows_all_of_it_with_examples(client: ForeignClient, tmp_path: Path) -> None:
    del tmp_path
    description = client.call("GET", "/openapi.json", 200).json()
    for path, method in [
        ("/v1/concepts", "post"),
        ("/v1/lineages", "post"),
        ("/v1/lineages/{lineage_id}/versions", "post"),
        ("/v1/lineages/{lineage_id}/versions/{number}/adapter", "get"),
        ("/v1/generations", "post"),
        ("/v1/generations/{generation_id}/images/{position}", "get"),
        ("/v1/jobs/{job_id}", "get"),
    ]:
        assert method in description["paths"][path], (path, method)
    schemas = description["components"]["schemas"]
    for name in ("JobBody", "ConceptBody", "LineageBody", "VersionBody"):
        assert schemas[name]["examples"], name
