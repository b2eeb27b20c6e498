"""Base models of each family, registered by folder or hub id, and lineages over them."""

import httpx
import pytest

from app.domain.base_models import Family
from tests.integration.api.inputs import new_lineage
from tests.integration.api.state import Server

SDXL = "stabilityai/stable-diffusion-xl-base-1.0"


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("source", ["/srv/models/mine", SDXL])
def test_each_family_may_be_registered(
    server: Server, client: httpx.Client, admin: httpx.Client, family: Family, source: str
) -> None:
    name = server.unique("base")
    manifest = {"name": name, "family": family, "resolution": 1024, "rare_tokens": ["ohwx"]}
    created = admin.post("/v1/base-models", json={"source": source, "manifest": manifest})
    assert created.status_code == 201
    assert created.json()["manifest"]["family"] == family
    assert created.json()["manifest"]["adapted_modules"] == ["to_q", "to_k", "to_v", "to_out.0"]
    lineage = client.get(f"/v1/lineages/{new_lineage(client, base_model=name)}").json()
    assert lineage["base_model"] == name
    assert lineage["training"]["resolution"] == 1024


def test_a_family_that_nobody_can_load_is_refused(client: httpx.Client, admin: httpx.Client) -> None:
    manifest = {"name": "flux", "family": "flux", "resolution": 1024, "rare_tokens": ["ohwx"]}
    refused = admin.post("/v1/base-models", json={"source": "/srv/models/flux", "manifest": manifest})
    assert refused.status_code == 422
    assert "'sd' or 'sdxl'" in refused.text
    assert "flux" not in client.get("/v1/base-models").text
