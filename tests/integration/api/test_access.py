"""Users, keys, and what only an admin may do."""

from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from app.bootstrap import bootstrap, new_admin_key
from app.db.session import transaction
from app.db.tables import ApiKey
from app.domain.errors import NotReadyError
from app.domain.keys import hash_key
from tests.integration.api.inputs import BASE, new_lineage
from tests.integration.api.state import Server


def test_a_key_is_shown_once_and_stored_as_its_hash(server: Server, client: httpx.Client) -> None:
    created = client.post("/v1/keys", json={"name": "laptop"}).json()
    assert len(created["key"]) == len("pal_") + 43
    listed = client.get("/v1/keys").json()["items"]
    assert [entry["name"] for entry in listed] == ["laptop", "first key"]
    assert created["key"] not in client.get("/v1/keys").text
    with transaction(server.engine) as session:
        row = session.scalars(select(ApiKey).where(ApiKey.sha256 == hash_key(created["key"]))).one()
    assert created["key"] not in repr(row)
    with server.client(created["key"]) as laptop:
        assert laptop.get("/v1/me").status_code == 200
        assert client.get("/v1/keys").json()["items"][0]["last_used_at"] is not None
        assert client.delete(f"/v1/keys/{created['id']}").status_code == 204
        assert laptop.get("/v1/me").status_code == 401
    assert [entry["name"] for entry in client.get("/v1/keys").json()["items"]] == ["first key"]


def test_use_is_noted_to_the_minute(client: httpx.Client) -> None:
    client.get("/v1/me")
    noted = client.get("/v1/keys").json()["items"][0]["last_used_at"]
    assert noted == client.get("/v1/keys").json()["items"][0]["last_used_at"] is not None


def test_users(server: Server, admin: httpx.Client) -> None:
    name = server.unique("ada")
    created = admin.post("/v1/users", json={"name": name}).json()
    assert admin.post("/v1/users", json={"name": name}).status_code == 409
    assert admin.get("/v1/users").json()["items"][0]["name"] == name
    with server.client(created["key"]) as ada:
        lineage = new_lineage(ada)
        body = {"lineage_id": lineage, "prompt": "a cat"}
        job = ada.post("/v1/generations", json=body).json()
        assert admin.delete(f"/v1/users/{created['id']}").status_code == 204
        assert ada.get(f"/v1/jobs/{job['id']}").status_code == 401
    assert admin.delete(f"/v1/users/{created['id']}").status_code == 404
    assert admin.post("/v1/users", json={"name": name}).status_code == 201


def test_only_admins(client: httpx.Client, admin: httpx.Client) -> None:
    manifest = {"name": "mine", "family": "sd", "resolution": 64, "rare_tokens": ["a"]}
    body = {"source": "/somewhere", "manifest": manifest}
    refused = [
        client.get("/v1/users"),
        client.post("/v1/users", json={"name": "eve"}),
        client.post("/v1/base-models", json=body),
        client.delete(f"/v1/base-models/{BASE}"),
    ]
    assert {answer.status_code for answer in refused} == {403}
    me = admin.get("/v1/me").json()["user"]
    assert me["is_admin"]
    assert admin.delete(f"/v1/users/{me['id']}").status_code == 409


def test_base_models(server: Server, client: httpx.Client, admin: httpx.Client) -> None:
    name = server.unique("base")
    manifest = {"name": name, "family": "sd", "resolution": 64, "rare_tokens": ["a"]}
    body = {"source": "/somewhere", "manifest": manifest}
    assert admin.post("/v1/base-models", json=body).status_code == 201
    assert admin.post("/v1/base-models", json=body).status_code == 409
    listed = client.get("/v1/base-models").json()["items"]
    assert {entry["name"] for entry in listed} >= {name, BASE}
    assert "/somewhere" not in client.get("/v1/base-models").text
    new_lineage(client, base_model=name)
    assert admin.delete(f"/v1/base-models/{name}").status_code == 409
    assert admin.delete("/v1/base-models/unheard-of").status_code == 404
    assert admin.post("/v1/base-models", json={**body, "manifest": {**manifest, "name": name + "x"}}).is_success
    assert admin.delete(f"/v1/base-models/{name}x").status_code == 204


def test_strategies_describe_themselves(client: httpx.Client) -> None:
    listed = client.get("/v1/strategies").json()
    assert listed["next_cursor"] is None
    assert {entry["name"] for entry in listed["items"]} >= {"naive", "merge"}
    assert all(entry["options_schema"]["properties"]["name"] for entry in listed["items"])


def test_a_missing_folder_of_base_models_is_named(server: Server) -> None:
    with pytest.raises(NotReadyError, match=r"BASE_MODELS_DIR: there is no folder /nowhere\."):
        bootstrap(server.settings.model_copy(update={"base_models_dir": Path("/nowhere")}))


def test_bootstrap_again_changes_nothing(server: Server) -> None:
    before = server.contents()
    assert bootstrap(server.settings) is None
    assert server.contents() == before
    with server.client(new_admin_key(server.settings)) as admin:
        assert admin.get("/v1/users").status_code == 200
