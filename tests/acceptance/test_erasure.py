"""Import, reproduce and erase, over HTTP on real processes; then a look into Postgres and S3 for what must be gone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from app.settings import Settings
from app.stack.addresses import Addresses
from app.stack.waiting import becomes_true
from app.storage import ObjectStore
from tests.acceptance.foreign_client import PATIENCE_SECONDS, ForeignClient, Json
from tests.acceptance.own_stack import own_stack
from tests.tiny_pipelines import write_tiny_sd


@dataclass(frozen=True)
class House:
    """A user on a stack of its own, and what an operator sees of it."""

    client: ForeignClient
    home: Path

    def rows(self, query: str, **values: object) -> list[Any]:
        """What Postgres answers."""
        engine = create_engine(self._settings().database_url or "")
        with engine.connect() as connection:
            found = list(connection.execute(text(query), values).scalars())
        engine.dispose()
        return found

    def keys(self) -> set[str]:
        """What the bucket holds."""
        return {listed.key for listed in ObjectStore(self._settings()).list("")}

    def _settings(self) -> Settings:
        known = Addresses.load(self.home)
        assert known is not None
        return known.applied_to(Settings(home=self.home))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("erasure")
    write_tiny_sd(folder / "bases" / "tiny-sd")
    with own_stack(folder, PALIMPSEST_SWEEP_INTERVAL_SECONDS="0.5") as (up, user):
        yield House(user, up.home)


def erased(client: ForeignClient, lineage: str, concept: str, mode: str) -> Json:
    """Erase a concept; the job's result."""
    body = {"concept_id": concept, "mode": mode}
    job = client.call("POST", f"/v1/lineages/{lineage}/erasures", 202, json=body).json()
    result: Json = client.wait(job["id"], "succeeded")["result"]
    return result


def test_an_export_starts_another_lineage(house: House) -> None:
    client = house.client
    lineage = client.lineage("merge", rank=2, steps=4, batch_size=1)
    client.learn(lineage, client.concept("lamp"))
    token = client.version(lineage, 1)["concept"]["token"]
    for kind in ("diffusers", "kohya"):
        data = client.call("GET", f"/v1/lineages/{lineage}/versions/1/adapter?format={kind}", 200).content
        other = client.lineage("merge", rank=2, steps=4, batch_size=1)
        files = {"file": ("lamp.safetensors", data, "application/octet-stream")}
        form = {"name": "old-lamp", "kind": "object", "class_noun": "toy", "token": token}
        job = client.call("POST", f"/v1/lineages/{other}/import", 202, files=files, data=form).json()
        assert client.wait(job["id"], "succeeded")["result"] == {"lineage_id": other, "version": 1}
        assert client.version(other, 1)["provenance"]["format"] == kind
        drawn = client.pictures(other, 1, "a photo of <old-lamp>")
        assert len(drawn) == 2
    again = client.call("POST", f"/v1/lineages/{other}/import", 409, files=files)
    assert again.headers["content-type"] == "application/problem+json"


def test_a_version_is_reproduced(house: House) -> None:
    client = house.client
    lineage = client.lineage("merge", rank=2, steps=4, batch_size=1)
    for name in ("mug", "jug"):
        client.learn(lineage, client.concept(name))
    job = client.call("POST", f"/v1/lineages/{lineage}/versions/2/reproduce", 202).json()
    result = client.wait(job["id"], "succeeded")["result"]
    assert (result["reproduced"], result["max_abs_difference"], result["differences"]) == (True, 0.0, [])
    assert result["expected_sha256"] == result["got_sha256"] == client.version(lineage, 2)["adapter"]["sha256"]


@pytest.mark.parametrize("mode", ["refold", "retrain"])
def test_an_erased_concept_leaves_nothing_in_any_branch(house: House, mode: str) -> None:
    client = house.client
    concepts = {name: client.concept(f"{name}-{mode}") for name in ("dog", "vase", "cup", "hat")}
    trunk = client.lineage("merge", rank=2, steps=4, batch_size=1)
    for name in ("dog", "vase", "cup"):
        client.learn(trunk, concepts[name])
    body = {"from_version": 2, "name": f"branch-{mode}"}
    branch = client.call("POST", f"/v1/lineages/{trunk}/branches", 201, json=body).json()["id"]
    client.learn(branch, concepts["hat"])
    drawn = [client.pictures(line, 3, f"a photo of <vase-{mode}>") for line in (trunk, branch)]
    assert all(drawn)
    held = _held(house, concepts["vase"], mode)
    # Three images, four pictures, and the vase's adapter; mode refold keeps the cup's and the hat's.
    assert len(held["objects"]) == 3 + 4 + (1 if mode == "refold" else 3)

    route = f"/v1/lineages/{branch}/erasures?dry_run=true"
    plan = client.call("POST", route, 200, json={"concept_id": concepts["vase"], "mode": mode}).json()
    assert (len(plan["versions"]), plan["removed_pictures"]) == (3, 4)
    assert plan["total_steps"] == (8 if mode == "retrain" else 0)
    result = erased(client, branch, concepts["vase"], mode)
    assert result["residual"] == (mode == "refold")

    # The old versions are gone, the new heads draw and export.
    for line, number in ((trunk, 2), (trunk, 3), (branch, 2), (branch, 3)):
        client.call("GET", f"/v1/lineages/{line}/versions/{number}", 410)
    for line, name in ((trunk, "cup"), (branch, "hat")):
        head = client.call("GET", f"/v1/lineages/{line}", 200).json()["head_version"]
        version = client.version(line, head)
        assert (version["parent"], version["concept"]["id"]) == (1, concepts[name])
        assert client.pictures(line, head, f"a photo of <{name}-{mode}> and <dog-{mode}>")
        client.call("GET", f"/v1/lineages/{line}/versions/{head}/adapter", 200)
    client.call("GET", f"/v1/concepts/{concepts['vase']}", 404)

    assert becomes_true(lambda: not house.keys() & set(held["keys"]), PATIENCE_SECONDS), "left in S3"
    for table, ids in held.items():
        if table != "keys":
            left = house.rows(f"SELECT id FROM {table} WHERE id = ANY(:ids)", ids=ids)  # noqa: S608
            assert not left, table
    assert not house.rows("SELECT 1 FROM concept_images WHERE concept_id = :id", id=concepts["vase"])


def _held(house: House, concept: str, mode: str) -> dict[str, list[Any]]:
    """The rows and keys that hold the concept's images or factors, or pictures made with these."""
    versions = house.rows(
        "WITH RECURSIVE held AS (SELECT id FROM versions WHERE concept_id = :id"
        " UNION SELECT v.id FROM versions v JOIN held ON v.parent_id = held.id) SELECT id FROM held",
        id=concept,
    )
    generations = house.rows("SELECT id FROM generations WHERE version_id = ANY(:ids)", ids=versions)
    objects = house.rows(
        "SELECT object_id FROM concept_images WHERE concept_id = :id"
        " UNION SELECT object_id FROM generation_images WHERE generation_id = ANY(:generations)"
        " UNION SELECT adapter_object_id FROM versions WHERE id = ANY(:versions) AND (concept_id = :id OR :all)",
        id=concept,
        generations=generations,
        versions=versions,
        all=mode == "retrain",
    )
    keys = house.rows("SELECT key FROM objects WHERE id = ANY(:ids)", ids=objects)
    assert set(keys) <= house.keys(), json.dumps(keys)
    return {
        "concepts": [concept],
        "versions": versions,
        "generations": generations,
        "objects": objects,
        "keys": keys,
    }
