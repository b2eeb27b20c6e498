"""A deletion survives a crash of the sweeper at every point, shows nothing half deleted, and its report is true."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import event, func, select, update
from sqlalchemy.orm import Session

from app.db.deletion_tables import Deletion
from app.db.evaluation_tables import EvaluationFile
from app.db.session import transaction
from app.db.tables import ConceptImage, GenerationImage, Job, ObjectStatus, StoredObject, Version
from app.domain.jobs import JobStatus
from app.queue import WakeUps
from app.storage import ObjectStore, describe_object
from sweeper.sweeper import Sweeper
from tests.integration.api.belongings import Names, own_everything
from tests.integration.api.inputs import new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import start

PATHS = {
    "concept": "/v1/concepts/{concept_id}",
    "lineage": "/v1/lineages/{lineage_id}",
    "generation": "/v1/generations/{generation_id}",
    "evaluation": "/v1/evaluations/{evaluation_id}",
    "user": "/v1/users/{user_id}",
}
_ONE = {"adapters": 1, "pictures": 1, "evaluations": 1}
WITHIN = {"versions": 1, "generations": 1, "evaluations": 1, "jobs": 3}
REMOVED: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    # A version has learned the concept, so that its row stays.
    "concept": ({}, {"images": 2}),
    "lineage": ({"lineages": 1} | WITHIN, _ONE),
    "generation": ({"generations": 1}, {"pictures": 1}),
    "evaluation": ({"evaluations": 1}, {"evaluations": 1}),
    # With the lineage that its owner has deleted before.
    "user": ({"users": 1, "concepts": 1, "lineages": 1} | WITHIN, _ONE | {"images": 2}),
}
"""Rows and objects that go, of what `own_everything` makes."""


class Crash(BaseException):
    """The sweeper is killed here."""


class Fuse:
    """Raises `Crash` at the n-th boundary that is passed in this thread, and counts them all."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._thread = threading.get_ident()
        self.passed = 0

    def burn(self, *_: object) -> None:
        if threading.get_ident() == self._thread:
            self.passed += 1
            if self.passed == self._at:
                raise Crash


class FragileStore(ObjectStore):
    """A bucket whose client may die before, within and after a DELETE of several keys."""

    def __init__(self, server: Server, fuse: Fuse) -> None:
        super().__init__(server.settings)
        self._fuse = fuse

    def delete(self, keys: Iterable[str]) -> frozenset[str]:
        every = list(keys)
        self._fuse.burn()
        kept = super().delete(every[: len(every) // 2])
        self._fuse.burn()
        kept |= super().delete(every[len(every) // 2 :])
        self._fuse.burn()
        return kept


@contextmanager
def burning(fuse: Fuse) -> Iterator[None]:
    """Just before and just after each commit."""
    for name in ("before_commit", "after_commit"):
        event.listen(Session, name, fuse.burn)
    try:
        yield
    finally:
        for name in ("before_commit", "after_commit"):
            event.remove(Session, name, fuse.burn)


def collect(server: Server, crash_at: int = 0) -> int:
    """A round of the sweeper, killed at that boundary (0: at none); how many boundaries it passed."""
    fuse = Fuse(crash_at)
    assert server.settings.broker_url is not None
    sweeper = Sweeper(server.settings, server.engine, FragileStore(server, fuse), WakeUps(server.settings.broker_url))
    with burning(fuse):
        sweeper.collect()
    return fuse.passed


def report(client: httpx.Client, thing_id: str) -> dict[str, Any]:
    answer = client.get(f"/v1/deletions/{thing_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def assert_nothing_is_half_there(server: Server) -> None:
    """What any row names is live, and in the bucket as it was stored."""
    named = [EvaluationFile.object_id, ConceptImage.object_id, GenerationImage.object_id, Version.adapter_object_id]
    store = ObjectStore(server.settings)
    with transaction(server.engine) as session:
        ids = [object_id for column in named for object_id in session.scalars(select(column)) if object_id]
        rows = [session.get_one(StoredObject, object_id) for object_id in ids]
    for row in rows:
        assert row.status is ObjectStatus.LIVE
        store.get(row)


def assert_all_of_it_is_gone(server: Server, thing_id: str) -> None:
    with transaction(server.engine) as session:
        assert not session.scalars(select(StoredObject).where(StoredObject.deletion_id == UUID(thing_id))).all()
        keys = set(session.scalars(select(StoredObject.key)))
    assert {listed.key for listed in ObjectStore(server.settings).list()} == keys


@pytest.mark.parametrize("kind", ["concept", "generation", "evaluation"])
def test_what_goes_with_one_thing(server: Server, client: httpx.Client, kind: str) -> None:
    path = own_everything(server, client).path(PATHS[kind])
    assert client.delete(path).status_code == 204
    collect(server)
    told = report(client, path.rsplit("/", 1)[1])
    rows, objects = REMOVED[kind]
    assert (told["rows"], {name: tally["count"] for name, tally in told["objects"].items()}) == (rows, objects)
    assert told["completed_at"] is not None
    assert_nothing_is_half_there(server)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["lineage", "user"])
def test_a_crash_anywhere_is_made_good_by_the_next_round(
    server: Server, admin: httpx.Client, new_client: Callable[[], httpx.Client], kind: str
) -> None:
    rows, objects = REMOVED[kind]
    collect(server)
    crash_at, crashes = 1, 0
    while True:
        owner = new_client()
        names = own_everything(server, owner)
        collect(server)  # The lineage that `own_everything` deletes is not what this is about.
        path, deleter = names.path(PATHS[kind]), admin if kind == "user" else owner
        assert deleter.delete(path).status_code == 204
        thing_id = path.rsplit("/", 1)[1]
        assert report(deleter, thing_id)["purged_at"] is None
        try:
            passed = collect(server, crash_at)
        except Crash:
            crashes += 1
            told = report(deleter, thing_id)
            assert_nothing_is_half_there(server)
            if kind != "user":
                assert owner.get(path).status_code == 404
            assert all(count <= rows[name] for name, count in told["rows"].items())
            assert all(tally["count"] <= objects[name] for name, tally in told["objects"].items())
            if told["completed_at"] is not None:
                assert_all_of_it_is_gone(server, thing_id)
            passed = collect(server)
        told = report(deleter, thing_id)
        assert told["rows"] == rows
        assert {name: tally["count"] for name, tally in told["objects"].items()} == objects
        assert all(tally["bytes"] > 0 for tally in told["objects"].values())
        assert told["completed_at"] >= told["purged_at"] >= told["created_at"]
        assert_all_of_it_is_gone(server, thing_id)
        assert_nothing_is_half_there(server)
        if crashes < crash_at:
            break
        crash_at += 1
    assert crashes > 10, passed


def test_the_report_holds_nothing_of_what_was_deleted(server: Server, client: httpx.Client) -> None:
    names = own_everything(server, client)
    client.delete(names.path(PATHS["concept"]))
    client.delete(names.path(PATHS["lineage"]))
    collect(server)
    with transaction(server.engine) as session:
        row = session.get_one(Deletion, UUID(names.lineage_id))
        columns = {column.name: getattr(row, column.name) for column in Deletion.__table__.columns}
    assert set(columns) == {
        *("id", "created_at", "user_id", "kind", "reason", "removed", "purged_at", "completed_at"),
    }
    assert "rex" not in client.get("/v1/deletions").text


def test_a_deletion_waits_for_the_jobs_that_run_and_takes_what_they_put(server: Server, client: httpx.Client) -> None:
    lineage = new_lineage(client)
    job = client.post("/v1/generations", json={"lineage_id": lineage, "prompt": "a cat"}).json()["id"]
    start(server, job)
    row = describe_object(UUID(client.get("/v1/me").json()["user"]["id"]), "pictures", b"half drawn", "image/png")
    row.job_id = UUID(job)
    with transaction(server.engine) as session:
        session.add(row)
    ObjectStore(server.settings).put(row, b"half drawn")
    client.delete(f"/v1/lineages/{lineage}")
    collect(server)
    assert report(client, lineage)["purged_at"] is None
    with transaction(server.engine) as session:
        ended = {"status": JobStatus.CANCELED, "finished_at": func.clock_timestamp()}
        session.execute(update(Job).where(Job.id == UUID(job)).values(ended))
    collect(server)
    told = report(client, lineage)
    assert told["completed_at"] is not None
    assert told["objects"] == {"pictures": {"count": 1, "bytes": len(b"half drawn")}}
    assert row.key not in {listed.key for listed in ObjectStore(server.settings).list()}


def test_of_a_deleted_user_the_admin_is_told(server: Server, admin: httpx.Client, client: httpx.Client) -> None:
    names: Names = own_everything(server, client)
    admin.delete(names.path(PATHS["user"]))
    collect(server)
    assert report(admin, names.user_id)["kind"] == "user"
    # The reports of what the user had deleted are theirs, and go with them.
    with transaction(server.engine) as session:
        assert session.get(Deletion, UUID(names.deletion_id)) is None
