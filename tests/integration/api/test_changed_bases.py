"""Versions of base models, and lineages whose base has other weights than it was taught on."""

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from app.bootstrap import bootstrap
from app.db.session import transaction
from app.db.tables import BaseModelRow, Version
from app.domain.base_versions import SHIPPED, described
from app.domain.base_weights import fingerprint
from tests.integration.api.inputs import new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import PROVENANCE, teach

RETIRED = SHIPPED[1]
CHANGED = "urn:palimpsest:problem:base-changed"


def new_base(server: Server, **columns: str | None) -> str:
    """A registered base like the tests' own; its name."""
    name = server.unique("base")
    with transaction(server.engine) as session:
        manifest = session.get_one(BaseModelRow, "tiny").manifest
        session.add(BaseModelRow(name=name, source="/nowhere", manifest=manifest, **columns))
    return name


def found(server: Server, name: str, weights: str) -> None:
    """Somebody has looked: these weights are at the base's source."""
    with transaction(server.engine) as session:
        session.execute(update(BaseModelRow).where(BaseModelRow.name == name).values(found_fingerprint=weights))


def taught_lineage(server: Server, client: httpx.Client, base: str, weights: str) -> str:
    """A lineage with one version, taught on these weights; its id."""
    lineage = new_lineage(client, base_model=base)
    concept = new_concept(client, server.unique("rex"))
    job = client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": concept})
    assert job.status_code == 202, job.text
    teach(server, job.json(), seed=0)
    provenance = PROVENANCE.model_copy(update={"base_fingerprint": weights})
    with transaction(server.engine) as session:
        rows = update(Version).where(Version.lineage_id == lineage, Version.number == 1)
        session.execute(rows.values(provenance=provenance))
    return lineage


def requests(server: Server, client: httpx.Client, lineage: str) -> dict[str, httpx.Response]:
    """What takes the base: drawing, evaluating, training on."""
    concept = new_concept(client, server.unique("tom"))
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "draw": ("/v1/generations", {"lineage_id": lineage, "prompt": "a cat"}),
        "evaluate": (f"/v1/lineages/{lineage}/evaluations", {}),
        "train": (f"/v1/lineages/{lineage}/versions", {"concept_id": concept}),
    }
    return {name: client.post(route, json=body) for name, (route, body) in bodies.items()}


@pytest.mark.parametrize("weights", [RETIRED.fingerprint, "of nobody knows which base"])
def test_what_was_taught_on_other_weights_is_refused_until_it_is_allowed(
    server: Server, client: httpx.Client, weights: str
) -> None:
    base = new_base(server)
    lineage = taught_lineage(server, client, base, weights)
    found(server, base, "the weights of today")
    for name, answer in requests(server, client, lineage).items():
        assert answer.status_code == 409, (name, answer.text)
        assert answer.json()["type"] == CHANGED
        assert described(weights) in answer.json()["detail"]
        assert "allow_changed_base" in answer.json()["detail"]
    changed = client.patch(f"/v1/lineages/{lineage}", json={"allow_changed_base": True})
    assert changed.json()["allow_changed_base"] is True
    assert {answer.status_code for answer in requests(server, client, lineage).values()} == {202}


def test_a_concept_can_be_erased_from_a_changed_base_but_nothing_is_trained_anew_on_it(
    server: Server, client: httpx.Client
) -> None:
    base = new_base(server)
    lineage = taught_lineage(server, client, base, "former")
    concept = new_concept(client, server.unique("tom"))
    teach(server, client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": concept}).json(), seed=1)
    with transaction(server.engine) as session:
        provenance = PROVENANCE.model_copy(update={"base_fingerprint": "former"})
        session.execute(update(Version).where(Version.lineage_id == lineage).values(provenance=provenance))
    found(server, base, "the weights of today")
    first = client.get(f"/v1/lineages/{lineage}/versions/1").json()["concept"]["id"]
    bodies = [{"concept_id": first, "mode": mode} for mode in ("retrain", "refold")]
    answers = [client.post(f"/v1/lineages/{lineage}/erasures", json=body) for body in bodies]
    assert [answer.status_code for answer in answers] == [409, 202]
    assert answers[0].json()["type"] == CHANGED


def test_a_retired_base_is_named_with_the_day(server: Server, client: httpx.Client) -> None:
    base = new_base(server)
    lineage = taught_lineage(server, client, base, RETIRED.fingerprint)
    found(server, base, SHIPPED[-1].fingerprint)
    detail = client.post("/v1/generations", json={"lineage_id": lineage, "prompt": "a cat"}).json()["detail"]
    assert f"icons-64.2 ({RETIRED.fingerprint[:12]}, retired on 2026-11-27)" in detail
    assert f"found is icons-64.3 ({SHIPPED[-1].fingerprint[:12]})" in detail


def test_the_same_weights_and_weights_that_nobody_has_looked_at_are_taken(server: Server, client: httpx.Client) -> None:
    for weights in ("the same", None):
        base = new_base(server)
        lineage = taught_lineage(server, client, base, "the same")
        if weights is not None:
            found(server, base, weights)
        assert all(answer.status_code == 202 for answer in requests(server, client, lineage).values())


def test_only_the_version_that_is_asked_for_and_its_ancestors_count(server: Server, client: httpx.Client) -> None:
    base = new_base(server)
    lineage = taught_lineage(server, client, base, "former")
    found(server, base, "the weights of today")
    body = {"lineage_id": lineage, "prompt": "a cat", "version": 0}
    assert client.post("/v1/generations", json=body).status_code == 202
    branch = client.post(f"/v1/lineages/{lineage}/branches", json={"from_version": 1, "name": "on"}).json()
    assert branch["allow_changed_base"] is False
    drawn = client.post("/v1/generations", json={"lineage_id": branch["id"], "prompt": "a cat"})
    assert drawn.json()["type"] == CHANGED


def test_an_alias_stands_for_the_newest_version_whose_weights_are_there(server: Server, client: httpx.Client) -> None:
    alias = server.unique("alias")
    first, second, third = (
        new_base(server, alias=alias, fingerprint=weights, found_fingerprint=there)
        for weights, there in (("a", "a"), ("b", "b"), ("c", "d"))
    )
    lineage = client.get(f"/v1/lineages/{new_lineage(client, base_model=alias)}").json()
    assert lineage["base_model"] == second
    assert client.get(f"/v1/lineages/{new_lineage(client, base_model=first)}").json()["base_model"] == first
    shown = {base["name"]: base for base in client.get("/v1/base-models").json()["items"]}
    assert [shown[name]["retired"] for name in (first, second, third)] == [False, False, True]
    assert {shown[name]["alias"] for name in (first, second, third)} == {alias}
    assert shown[third]["fingerprint"] == "d"
    refused = client.post("/v1/lineages", json={"name": "pets", "base_model": third})
    assert refused.status_code == 422
    assert alias in refused.json()["errors"][0]["message"]


def test_what_was_registered_under_the_alias_before_there_were_versions_stays_for_its_lineages(
    server: Server, client: httpx.Client
) -> None:
    former = new_base(server)
    lineage = taught_lineage(server, client, former, RETIRED.fingerprint)
    newer = new_base(server, alias=former, fingerprint="b", found_fingerprint="b")
    assert client.get(f"/v1/lineages/{lineage}").json()["base_model"] == former
    assert client.get(f"/v1/lineages/{new_lineage(client, base_model=former)}").json()["base_model"] == newer
    found(server, former, "b")
    drawn = client.post("/v1/generations", json={"lineage_id": lineage, "prompt": "a cat"})
    assert drawn.json()["type"] == CHANGED


def test_no_base_may_take_the_name_of_an_alias(server: Server, admin: httpx.Client) -> None:
    alias = server.unique("alias")
    new_base(server, alias=alias, fingerprint="a", found_fingerprint="a")
    manifest = {"name": alias, "family": "sd", "resolution": 64, "rare_tokens": ["ohwx"]}
    refused = admin.post("/v1/base-models", json={"source": "/srv/mine", "manifest": manifest})
    assert refused.status_code == 409
    assert "alias" in refused.json()["detail"]


def test_a_lineage_on_a_version_is_refused_once_the_next_lies_in_its_place(
    server: Server, client: httpx.Client, tmp_path: Path
) -> None:
    """An upgrade: the folder of the embedded base holds other weights, and the next start finds them."""
    embedded = Path(__file__).parents[3] / "base_models" / "icons-64"
    folder = tmp_path / "icons-64"
    shutil.copytree(embedded, folder)
    settings = server.settings.model_copy(update={"base_models_dir": tmp_path})
    bootstrap(settings)
    lineage = new_lineage(client, base_model="icons-64")
    name = client.get(f"/v1/lineages/{lineage}").json()["base_model"]
    assert name == SHIPPED[-1].name
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps(json.loads(scheduler.read_text()) | {"steps_offset": 7}))
    bootstrap(settings)
    with transaction(server.engine) as session:
        family = session.get_one(BaseModelRow, name).manifest.family
    newer = f"icons-64.{fingerprint(folder, family.components)[:8]}"
    try:
        assert client.get(f"/v1/lineages/{new_lineage(client, base_model='icons-64')}").json()["base_model"] == newer
        # Nothing was taught yet, but the name promises other weights.
        drawn = client.post("/v1/generations", json={"lineage_id": lineage, "prompt": "a cat"})
        assert drawn.json()["type"] == CHANGED
        shutil.rmtree(folder)
        shutil.copytree(embedded, folder)
        bootstrap(settings)
        assert client.post("/v1/generations", json={"lineage_id": lineage, "prompt": "a cat"}).status_code == 202
    finally:
        with transaction(server.engine) as session:
            session.execute(update(BaseModelRow).where(BaseModelRow.alias == "icons-64").values(alias=None))
