"""Every POST takes an `Idempotency-Key`: sent twice it acts once, and gives the first answer again.

The routes are those of `/openapi.json`. A new POST needs a line in `POSTS`: what makes it answer 2xx once, for the
owner of `own_everything`'s things.
"""

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from tests.integration.api.belongings import Names, own_everything
from tests.integration.api.inputs import BASE, files, image, new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import PROVENANCE, adapter_bytes, random_factors, remember

_PATHS = create_app(Settings()).openapi()["paths"]
FOUND = {path: methods["post"] for path, methods in _PATHS.items() if "post" in methods}

# What is asked, by the client and with the names of one owner of everything, who is an admin too.
Ask = Callable[[httpx.Client, Names, str, dict[str, str]], httpx.Response]


def _json(make: Callable[[Names], dict[str, object]] | None = None) -> Ask:
    def ask(client: httpx.Client, names: Names, path: str, headers: dict[str, str]) -> httpx.Response:
        return client.post(path, json=None if make is None else make(names), headers=headers)

    return ask


def _upload(client: httpx.Client, names: Names, path: str, headers: dict[str, str]) -> httpx.Response:
    fields = {"name": f"new-{names.concept_id}", "kind": "style"}
    return client.post(path, data=fields, files=files(image()), headers=headers)


def _import(client: httpx.Client, names: Names, path: str, headers: dict[str, str]) -> httpx.Response:
    return client.post(path, files={"file": ("a.safetensors", _LORA)}, headers=headers)


# Made once: safetensors writes its metadata in any order, and other bytes are another request.
_LORA = adapter_bytes(random_factors(1, 2), 1.0)


def _manifest(names: Names) -> dict[str, object]:
    manifest = {"name": f"base-{names.user_id}", "family": "sd", "resolution": 64, "rare_tokens": ["a"]}
    return {"source": "/somewhere", "manifest": manifest}


_LINEAGE: dict[str, object] = {"name": "pets", "base_model": BASE, "strategy": {"name": "merge"}}

POSTS: dict[str, Ask] = {
    "/v1/concepts": _upload,
    "/v1/lineages": _json(lambda _: _LINEAGE),
    "/v1/lineages/{lineage_id}/versions": _json(lambda names: {"concept_id": names.concept_id}),
    "/v1/lineages/{lineage_id}/versions/{number}/promote": _json(),
    "/v1/lineages/{lineage_id}/versions/{number}/reproduce": _json(),
    "/v1/lineages/{lineage_id}/import": _import,
    "/v1/lineages/{lineage_id}/erasures": _json(lambda names: {"concept_id": names.concept_id, "mode": "refold"}),
    "/v1/lineages/{lineage_id}/branches": _json(lambda _: {"from_version": 1, "name": "mine"}),
    "/v1/lineages/{lineage_id}/rollback": _json(lambda _: {"to_version": 0}),
    "/v1/lineages/{lineage_id}/evaluations": _json(lambda _: {}),
    "/v1/generations": _json(lambda names: {"lineage_id": names.lineage_id, "prompt": "a cat"}),
    "/v1/jobs/{job_id}/cancel": _json(),
    "/v1/base-models": _json(_manifest),
    "/v1/users": _json(lambda names: {"name": f"eve-{names.user_id}"}),
    "/v1/keys": _json(lambda _: {"name": "laptop"}),
}

# Their answers hold a secret, which is shown once.
SECRET = ("/v1/users", "/v1/keys")


def _ready(server: Server, client: httpx.Client, names: Names, route: str) -> Names:
    """The names, after what this route needs beside one of everything."""
    if route.endswith("/versions"):
        return replace(names, concept_id=new_concept(client, "another"))
    if route.endswith("/reproduce"):
        remember(server, PROVENANCE)
    if route.endswith("/promote"):
        assert client.post(f"/v1/lineages/{names.lineage_id}/rollback", json={"to_version": 0}).status_code == 200
    if route.endswith("/import"):
        return replace(names, lineage_id=new_lineage(client))
    if route.endswith("/cancel"):
        job = client.post("/v1/generations", json={"lineage_id": names.lineage_id, "prompt": "a cat"}).json()
        return replace(names, job_id=job["id"])
    return names


def test_every_post_has_a_line() -> None:
    assert set(POSTS) == set(FOUND)


@pytest.mark.parametrize("route", FOUND)
def test_every_post_tells_of_the_header(route: str) -> None:
    headers = {parameter["name"] for parameter in FOUND[route].get("parameters", []) if parameter["in"] == "header"}
    assert "Idempotency-Key" in headers


@pytest.mark.parametrize("route", FOUND)
def test_sent_twice_it_acts_once(server: Server, admin: httpx.Client, route: str) -> None:
    user = admin.post("/v1/users", json={"name": server.unique("admin"), "is_admin": True}).json()
    with server.client(user["key"]) as client:
        names = _ready(server, client, own_everything(server, client), route)
        path, headers = names.path(route), {"Idempotency-Key": str(uuid4())}
        first = POSTS[route](client, names, path, headers)
        assert first.is_success, first.text
        before, seen = server.contents(), _seen(client, names)
        second = POSTS[route](client, names, path, headers)
        assert server.contents() == before
        assert _seen(client, names) == seen
        if route in SECRET:
            assert second.status_code == 409
            assert first.json()["key"] not in second.text
        else:
            assert (second.status_code, second.content) == (first.status_code, first.content)
            assert second.headers.get("Location") == first.headers.get("Location")
        # Of another route the same key is none.
        assert client.post("/v1/lineages", json={**_LINEAGE, "name": "other"}, headers=headers).status_code == 422


def _seen(client: httpx.Client, names: Names) -> list[str]:
    """What a second act would change without adding a row."""
    return [client.get(f"/v1/{what}").text for what in ("jobs", "lineages", f"lineages/{names.lineage_id}/versions")]
