"""A history that forks: real training, real pictures, over HTTP."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.acceptance.foreign_client import ForeignClient
from tests.acceptance.own_stack import own_stack
from tests.acceptance.up import eventually
from tests.tiny_pipelines import write_tiny_sd


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignClient]:
    """A user on a stack of its own, over the tiny base, whose sweeper purges every half second."""
    folder = tmp_path_factory.mktemp("lineages")
    write_tiny_sd(folder / "bases" / "tiny-sd")
    with own_stack(folder, PALIMPSEST_SWEEP_INTERVAL_SECONDS="0.5") as (_, user):
        yield user


def test_a_history_forks_and_outlives_its_beginning(client: ForeignClient) -> None:
    lineage = client.lineage("merge", rank=2, steps=8, batch_size=1, learning_rate=0.01)
    at = f"/v1/lineages/{lineage}"
    concepts = {name: client.concept(name) for name in ("dog", "vase", "cup", "hat")}
    assert [client.learn(lineage, concepts[name]) for name in ("dog", "vase")] == [1, 2]

    body = {"from_version": 1, "name": "orthogonally", "strategy": {"name": "orthogonal_merge"}}
    branch = client.call("POST", f"{at}/branches", 201, json=body).json()["id"]
    assert client.learn(branch, concepts["vase"]) == 2
    drawn = [client.pictures(line, 1, "a photo of <dog>") for line in (lineage, branch)]
    drawn += [client.pictures(line, 2, "a photo of <dog> and <vase>") for line in (lineage, branch)]
    # Version 1 is shared; the two versions 2 have learned the same concept by two strategies.
    assert len({_pixels(pictures)[0] for pictures in drawn}) == 3

    client.call("POST", f"{at}/rollback", 200, json={"to_version": 1})
    assert client.learn(lineage, concepts["cup"]) == 3
    slow = client.call("POST", f"{at}/versions", 202, json={"concept_id": concepts["hat"], "training": {"steps": 300}})
    client.wait(slow.json()["id"], "running")
    client.call("POST", f"{at}/rollback", 200, json={"to_version": 0})
    held = client.wait(slow.json()["id"], "succeeded")["result"]["version"]
    shown = {item["version"]: item for item in client.call("GET", f"{at}/versions", 200).json()["items"]}
    assert {number: item["parent"] for number, item in shown.items()} == {0: None, 1: 0, 2: 1, 3: 1, 4: 3}
    assert (held, shown[held]["status"]) == (4, "held")
    assert client.pictures(lineage, held, "<dog>, <cup> and <hat>")
    client.call("POST", f"{at}/versions/{held}/promote", 200)
    assert client.call("GET", at, 200).json()["head_version"] == 4

    compared = client.call("GET", f"{at}/compare?from=2&to=4", 200).json()
    assert compared["common_ancestor"] == 1
    assert [entry["concept"]["name"] for entry in compared["concepts_gained"]] == ["cup", "hat"]
    assert [entry["concept"]["name"] for entry in compared["concepts_lost"]] == ["vase"]
    differing = {difference["field"]: difference for difference in compared["differences"]}
    assert (differing["training.steps"]["from_value"], differing["training.steps"]["to_value"]) == (8, 300)
    assert {"adapter_sha256", "image_sha256s", "parent_adapter_sha256"} <= differing.keys()
    assert not {"base_fingerprint", "machine.device", "training.rank"} & differing.keys()

    _delete_and_see_the_branch_live(client, lineage, branch)


def _delete_and_see_the_branch_live(client: ForeignClient, lineage: str, branch: str) -> None:
    before = client.pictures(branch, 2, "<dog> and <vase>")
    client.call("DELETE", f"/v1/lineages/{lineage}", 204)
    client.call("GET", f"/v1/lineages/{lineage}/versions/1", 404)
    # The purge is over when the branch owns what it shared.
    eventually(lambda: client.version(branch, 1)["owner_lineage_id"] == branch)
    assert _pixels(client.pictures(branch, 2, "<dog> and <vase>")) == _pixels(before)
    assert client.learn(branch, client.concept("bell")) == 3


def _pixels(pictures: list[bytes]) -> list[bytes]:
    return [Image.open(io.BytesIO(picture)).tobytes() for picture in pictures]
