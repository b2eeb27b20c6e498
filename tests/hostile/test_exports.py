"""Exports and downloads cost the API bounded memory, and end with their caller."""

from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from app.db.session import transaction
from app.db.tables import GenerationImage, Lineage, ObjectStatus
from app.settings import Settings
from app.stack.waiting import becomes_true
from app.storage import ObjectStore, describe_object
from tests.hostile.place import MIB, PATIENCE_SECONDS, Place, place
from tests.hostile.rows import draw_many
from tests.hostile.sockets import sending
from tests.integration.api.inputs import new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import publish_version, start

RANK, SIDE = 1024, 2048
MOST_GROWTH = 24 * MIB


def as_server(api: Place) -> Server:
    return Server(api.url, api.admin_key, api.settings, api.engine)


def large_version(api: Place, client: httpx.Client) -> str:
    """A version whose adapter takes long to lower: its rank is high."""
    draw = np.random.default_rng(1)
    tensors = {
        f"unet.m{n}.to_q.lora_{part}.weight": draw.standard_normal(shape).astype(np.float32)
        for n in range(4)
        for part, shape in (("A", (RANK, SIDE)), ("B", (SIDE, RANK)))
    }
    data = save(tensors, metadata={"format": "palimpsest-adapter-1", "scale": "1.0"})
    lineage = new_lineage(client)
    job = client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": new_concept(client, "rex")}).json()["id"]
    start(as_server(api), job)
    publish_version(as_server(api), job, data)
    return f"/v1/lineages/{lineage}/versions/1/adapter"


def children(api: Place) -> int:
    return len(api.process.children(recursive=True))


def test_an_export_grows_a_child_that_ends_with_its_caller(api: Place, client: httpx.Client) -> None:
    path = large_version(api, client)
    before, cpu = api.forget_peak(), api.cpu_seconds()
    request = client.build_request("GET", f"{path}?max_rank=512")
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(sending(api, request, 0))
        assert becomes_true(lambda: children(api) > 0, PATIENCE_SECONDS)
        assert client.get("/health/live").status_code == 200
    # All twenty have hung up; so nothing goes on for them.
    assert becomes_true(lambda: children(api) == 0, 20)
    assert api.peak_bytes() - before <= MOST_GROWTH
    assert api.cpu_seconds() - cpu < 5


def test_an_export_that_takes_too_much_is_refused(settings: Settings, tmp_path: Path) -> None:
    small = settings.model_copy(update={"export_memory_bytes": 256 * MIB})
    with place(small, tmp_path) as api, api.client(api.new_key()) as client:
        answer = client.get(f"{large_version(api, client)}?max_rank=512")
        assert answer.status_code == 413, answer.text
        assert answer.json()["type"] == "urn:palimpsest:problem:too-large"
        assert children(api) == 0


@pytest.fixture
def picture(api: Place, client: httpx.Client) -> str:
    """Where a picture of 12 MiB is."""
    lineage = new_lineage(client)
    draw_many(api, lineage, 1, 1)
    generation = client.get("/v1/generations").json()["items"][0]["id"]
    data = np.random.default_rng(2).bytes(12 * MIB)
    with transaction(api.engine) as session:
        row = describe_object(session.get_one(Lineage, UUID(lineage)).user_id, "pictures", data, "image/png")
        row.status = ObjectStatus.LIVE
        session.add(row)
        session.flush()
        session.get_one(GenerationImage, (UUID(generation), 0)).object_id = row.id
        ObjectStore(api.settings).put(row, data)
    return f"/v1/generations/{generation}/images/0"


def test_who_does_not_read_holds_no_memory_and_nobody_up(api: Place, client: httpx.Client, picture: str) -> None:
    other = client.get(picture)
    assert len(other.content) == 12 * MIB
    before = api.forget_peak()
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(sending(api, client.build_request("GET", picture), 0))
        with api.client(api.new_key()) as somebody:
            draw_many(api, new_lineage(somebody), 1, 1)
            for _ in range(20):
                assert somebody.get("/v1/jobs").status_code == 200
        assert api.peak_bytes() - before <= MOST_GROWTH
