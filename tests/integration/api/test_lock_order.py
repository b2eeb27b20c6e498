"""What locks the same rows at one moment takes turns: Postgres never has to break a deadlock.

Each test stops two of them where each has its first locks, and lets them go on together.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, text, update

from app.db import leases
from app.db.leases import Claim
from app.db.session import transaction
from app.db.tables import Concept, Job, Lineage, StoredObject, Table, Version
from app.domain.jobs import JobKind, JobStatus
from app.stack.waiting import becomes_true
from app.storage import ObjectStore
from tests.integration.api.conftest import PATIENCE_SECONDS
from tests.integration.api.inputs import new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import teach
from worker.runner import Runner

KINDS = (JobKind.TRAIN,)


@contextmanager
def held(server: Server, table: type[Table], row_id: UUID) -> Iterator[None]:
    """Somebody holds that row within the block."""
    with transaction(server.engine) as session:
        session.get_one(table, row_id, with_for_update=True)
        yield


def waiters(server: Server) -> int:
    """How many wait for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with server.engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


def waits(server: Server, count: int, *, unless: Future[Any] | None = None) -> None:
    """Wait until so many wait for a lock, or that one needs not."""

    def all_wait() -> bool:
        return waiters(server) == count or (unless is not None and unless.done())

    assert becomes_true(all_wait, PATIENCE_SECONDS), f"{waiters(server)} wait for a lock, not {count}"


@dataclass(frozen=True)
class Grown:
    """A lineage that has learned rex (1) and ink (2), and a branch from 1 that has learned max (2)."""

    lineage: str
    branch: str
    rex: str
    ink: str


@pytest.fixture
def grown(server: Server, client: httpx.Client) -> Grown:
    with transaction(server.engine) as session:
        # What earlier tests have queued is nobody's to claim.
        session.execute(update(Job).values(status=JobStatus.CANCELED))
    lineage = new_lineage(client)
    rex, ink, other = (new_concept(client, name) for name in ("rex", "ink", "max"))
    _learn(server, client, lineage, rex)
    body = {"from_version": 1, "name": "branch"}
    branch = client.post(f"/v1/lineages/{lineage}/branches", json=body).json()["id"]
    _learn(server, client, lineage, ink)
    _learn(server, client, branch, other)
    return Grown(lineage, branch, rex, ink)


def _train(client: httpx.Client, lineage: str, concept: str) -> httpx.Response:
    return client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": concept})


def _learn(server: Server, client: httpx.Client, lineage: str, concept: str) -> None:
    teach(server, _train(client, lineage, concept).json(), seed=1)


def test_a_submission_while_its_user_is_deleted(
    server: Server, admin: httpx.Client, new_client: Callable[[], httpx.Client]
) -> None:
    client = new_client()
    user = client.get("/v1/me").json()["user"]["id"]
    lineage, concept = new_lineage(client), new_concept(client, "rex")
    with ThreadPoolExecutor(2) as pool:
        with held(server, Concept, UUID(concept)):
            submitted = pool.submit(_train, client, lineage, concept)
            waits(server, 1)
            deleted = pool.submit(admin.delete, f"/v1/users/{user}")
            waits(server, 2)
        assert (submitted.result().status_code, deleted.result().status_code) == (202, 204)
    with transaction(server.engine) as session:
        assert session.get_one(Job, UUID(submitted.result().json()["id"])).status is JobStatus.CANCELED


def _erase(client: httpx.Client, lineage: str, concept: str) -> UUID:
    answer = client.post(f"/v1/lineages/{lineage}/erasures", json={"concept_id": concept, "mode": "refold"})
    assert answer.status_code == 202, answer.text
    return UUID(answer.json()["id"])


@contextmanager
def erasing(server: Server, job_id: UUID, number: int) -> Iterator[None]:
    """Within the block the oldest job, an erasure, has its locks, and has not removed the adapter of that version."""
    with transaction(server.engine) as session:
        lineage_id = session.get_one(Job, job_id).lineage_id
        query = select(Version.adapter_object_id).where(Version.lineage_id == lineage_id, Version.number == number)
        adapter_id = session.scalars(query).one()
    assert adapter_id is not None
    runner = Runner(server.settings, server.engine, ObjectStore(server.settings), threading.Event())
    with ThreadPoolExecutor(1) as pool:
        with held(server, StoredObject, adapter_id):
            ran = pool.submit(runner.run_one, KINDS)
            waits(server, 1)
            yield
        assert ran.result()
    with transaction(server.engine) as session:
        row = session.get_one(Job, job_id)
        assert (row.status, row.attempt, row.error) == (JobStatus.SUCCEEDED, 1, None)


def test_a_concept_is_deleted_while_it_is_erased(server: Server, client: httpx.Client, grown: Grown) -> None:
    erasure = _erase(client, grown.lineage, grown.ink)
    queued = _train(client, grown.branch, grown.ink).json()
    with ThreadPoolExecutor(1) as pool:
        with erasing(server, erasure, 2):
            deleted = pool.submit(client.delete, f"/v1/concepts/{grown.ink}")
            waits(server, 2)
        # The erasure was first, and has deleted it.
        assert deleted.result().status_code == 404
    assert client.get(f"/v1/jobs/{queued['id']}").json()["status"] == "canceled"


def test_a_generation_is_deleted_while_its_version_is_erased(
    server: Server, client: httpx.Client, grown: Grown
) -> None:
    erasure = _erase(client, grown.lineage, grown.rex)
    body = {"lineage_id": grown.lineage, "version": 2, "prompt": "a cat"}
    job = client.post("/v1/generations", json=body).json()
    with ThreadPoolExecutor(1) as pool:
        with erasing(server, erasure, 1):
            deleted = pool.submit(client.delete, f"/v1/generations/{job['result']['generation_id']}")
            waits(server, 2)
        assert deleted.result().status_code == 404


def test_a_job_is_claimed_while_what_it_stands_on_is_erased(server: Server, client: httpx.Client, grown: Grown) -> None:
    erasure = _erase(client, grown.lineage, grown.rex)
    job_id = UUID(_train(client, grown.branch, grown.ink).json()["id"])
    with transaction(server.engine) as session:
        head = session.get_one(Version, session.get_one(Lineage, UUID(grown.branch)).head_version_id)
        values = {"checkpoint_object_id": head.adapter_object_id, "checkpoint_parent_id": head.id, "checkpoint_step": 1}
        session.execute(update(Job).where(Job.id == job_id).values(**values))

    def claim() -> Claim | None:
        with transaction(server.engine) as session:
            return leases.claim(session, KINDS, "somebody", 30)

    with ThreadPoolExecutor(1) as pool:
        with erasing(server, erasure, 1):
            claimed = pool.submit(claim)
            waits(server, 2, unless=claimed)
        assert claimed.result() in (None, Claim(job_id, 1))
