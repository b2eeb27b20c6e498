"""What happens while Redis, S3 or Postgres is away."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from app.domain.errors import StorageError
from app.domain.jobs import JobKind
from app.queue import WakeUps
from app.settings import Settings
from app.storage import ObjectStore
from app.version import VERSION
from tests.integration.api.conftest import running_server, serving
from tests.integration.api.inputs import files, image, new_concept, new_lineage
from tests.integration.api.state import Server

FIELDS = {"name": "rex", "kind": "object", "class_noun": "dog"}


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Wake-ups are sent only once this is set: a server that waited for one before it answers would wait for ever."""
    answered, send = threading.Event(), WakeUps.send

    def send_late(wake_ups: WakeUps, kind: JobKind) -> bool:
        answered.wait()
        return send(wake_ups, kind)

    monkeypatch.setattr(WakeUps, "send", send_late)
    yield answered
    answered.set()


def submit(server: Server, answered: threading.Event) -> None:
    """Both kinds of jobs are accepted, without waiting for the broker."""
    with server.client(server.admin_key) as client:
        lineage, concept = new_lineage(client), new_concept(client, "rex")
        trained = client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": concept})
        drawn = client.post("/v1/generations", json={"lineage_id": lineage, "prompt": "a cat"})
        answered.set()
        assert (trained.status_code, drawn.status_code) == (202, 202)
        health = client.get("/health/ready")
        assert health.status_code == 200
        degraded = {"status": "degraded", "version": VERSION, "postgres": True, "storage": True, "broker": False}
        assert health.json() == degraded


@pytest.mark.parametrize("port", ["closed_port", "silent_port"])
def test_without_redis_jobs_are_accepted(
    settings: Settings, tmp_path: Path, port: str, request: pytest.FixtureRequest, answered: threading.Event
) -> None:
    url = f"redis://127.0.0.1:{request.getfixturevalue(port)}/0"
    with running_server(settings.model_copy(update={"broker_url": url}), tmp_path) as server:
        submit(server, answered)


def test_without_s3_an_upload_leaves_no_concept(
    server: Server, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = server.contents()
    _break(monkeypatch, after=1)
    answer = client.post("/v1/concepts", data=FIELDS, files=files(image(), image()))
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:palimpsest:problem:storage"
    assert "users/" not in answer.text
    monkeypatch.undo()
    assert server.contents() == before
    new_concept(client, "rex")


def _break(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let S3 fail after so many puts."""
    put: Callable[..., None] = ObjectStore.put
    done = iter(range(after))

    def failing(self: ObjectStore, *arguments: object) -> None:
        if next(done, None) is None:
            raise StorageError("Object storage could not write users/x.")
        put(self, *arguments)

    monkeypatch.setattr(ObjectStore, "put", failing)


def test_without_postgres_it_says_so(settings: Settings, tmp_path: Path, closed_port: int) -> None:
    with running_server(settings, tmp_path) as server:
        pass
    away = settings.model_copy(update={"database_url": f"postgresql+psycopg://x@127.0.0.1:{closed_port}/x"})
    with serving(away) as url:
        answers = [
            httpx.get(f"{url}/v1/me", headers={"Authorization": f"Bearer {server.admin_key}"}),
            httpx.get(f"{url}/health/ready"),
        ]
        for answer in answers:
            assert answer.status_code == 503
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert "Retry-After" in answer.headers
        assert httpx.get(f"{url}/health/live").status_code == 200


def test_the_unexpected_tells_nothing(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("app.services.quotas.measure_usage", break_down)
    with running_server(settings, tmp_path) as server, server.client(server.admin_key) as client:
        answer = client.get("/v1/me")
        assert answer.status_code == 500
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "secret" not in answer.text
