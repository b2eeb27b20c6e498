"""Asking for a version to be trained again, over HTTP."""

import httpx

from tests.integration.api.inputs import new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import PROVENANCE, remember, teach


def test_reproducing_is_a_job_while_the_images_are_there(server: Server, client: httpx.Client) -> None:
    concept, lineage = new_concept(client, "rex"), new_lineage(client)
    teach(server, client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": concept}).json(), seed=1)
    route = f"/v1/lineages/{lineage}/versions/{{}}/reproduce"
    assert client.post(route.format(0)).status_code == 409
    assert client.post(route.format(2)).status_code == 404
    assert client.post(route.format(1)).status_code == 409, "nothing is remembered of it"
    remember(server, PROVENANCE.model_copy(update={"residual": True}))
    assert client.post(route.format(1)).status_code == 409, "it was trained on top of another parent"
    remember(server, PROVENANCE)
    headers = {"Idempotency-Key": "again"}
    answers = [client.post(route.format(1), headers=headers) for _ in range(2)]
    job = answers[0].json()
    assert ([a.status_code for a in answers], answers[1].json()) == ([202, 202], job)
    assert (job["kind"], job["status"], job["progress"]["total_steps"]) == ("reproduce", "queued", 33)
    with server.client(server.admin_key) as other:
        assert other.post(route.format(1)).status_code == 404
    client.delete(f"/v1/concepts/{concept}")
    assert client.get(f"/v1/jobs/{job['id']}").json()["status"] == "canceled"
    assert client.post(route.format(1)).status_code == 409
