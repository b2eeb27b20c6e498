"""What is asked of a filled database: every route of the API, a claim, and the rounds of the sweeper.

Each operation runs on another user's rows every time, so that nothing is answered from what the last one read.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.db import leases
from app.db.looks import Look, Looks, Ts
from app.db.session import make_engine, transaction
from app.domain.jobs import JobKind, JobStatus, Phase
from app.main import create_app
from app.queue import WakeUps
from app.services.context import Services
from app.settings import Settings
from app.storage import ObjectStore
from benchmarks.queries.filling import Size, id_of
from sweeper.sweeper import Sweeper

LEASE_SECONDS = 30.0


@dataclass(frozen=True)
class Place:
    """The filled database, the API before it, and the sweeper behind it."""

    size: Size
    engine: Engine
    api_engine: Engine
    client: TestClient
    sweeper: Sweeper

    def user(self, turn: int) -> int:
        """The number of another ordinary user on every turn."""
        first = self.size.busy_users
        return first + turn % (self.size.users - first)

    def lineage(self, turn: int) -> int:
        """The number of that user's first lineage."""
        first = self.size.busy_users * self.size.busy_lineages
        return first + (self.user(turn) - self.size.busy_users) * self.size.lineages


Operation = Callable[[Place, int], None]
"""It does its work on the rows of that turn."""


@contextmanager
def open_place(settings: Settings, size: Size) -> Iterator[Place]:
    """The API in this process, on a database that is filled."""
    assert settings.database_url is not None
    assert settings.broker_url is not None
    engine = make_engine(settings.database_url)
    _appoint_admin(engine)
    sweeper = Sweeper(settings, engine, ObjectStore(settings), WakeUps(settings.broker_url))
    with TestClient(create_app(settings)) as client:
        services: Services = client.app.state.services  # type: ignore[attr-defined]
        looks = _LooksOfEngine(services.engine)
        client.app.state.services = replace(services, looks=looks)  # type: ignore[attr-defined]
        yield Place(size, engine, services.engine.sync_engine, client, sweeper)
    engine.dispose()


class _LooksOfEngine(Looks):
    """Looks through the API's engine, where a watch sees them as it sees any statement."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def all(self, look: Look[*Ts], **parameters: object) -> list[tuple[*Ts]]:
        """All rows."""
        async with self._engine.begin() as connection:
            rows = (await connection.exec_driver_sql(look.sql, {**look.constants, **parameters})).all()
        return [look.read(tuple(row)) for row in rows]


def _appoint_admin(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE users SET is_admin = true WHERE id = :id"), {"id": id_of("user", 0)})
        connection.execute(text("UPDATE api_keys SET scope = 'admin' WHERE id = :id"), {"id": id_of("key", 0)})


def _request(
    method: str,
    path: str,
    body: Callable[[Place, int], Any] | None = None,
    *,
    user: int | None = None,
    status: int = 200,
) -> Operation:
    """A request of the turn's user, or of that one; names in braces are the turn's own rows."""

    def ask(place: Place, turn: int) -> None:
        asking = place.user(turn) if user is None else user
        lineage = place.lineage(turn) if user is None else user * place.size.busy_lineages
        ids = {
            "lineage": id_of("lineage", lineage),
            "generation": id_of("generation", 3 * lineage),
            "drawing": id_of("drawing", 3 * lineage),
            "training": id_of("training", 5 * lineage),
            "queued": id_of("queued", 10 * (lineage + place.size.busy_lineages) - 1),
            "concept": id_of("concept", 5 * asking),
            "evaluation": id_of("evaluation", lineage - lineage % 10),
            "key": id_of("key", 2 * asking + 1),
            "deletion": id_of("deletion", 2 * asking),
            "user": id_of("user", place.user(turn)),
        }
        answer = place.client.request(
            method,
            path.format(**ids),
            json=None if body is None else body(place, turn),
            headers={"Authorization": f"Bearer key-{2 * asking}"},
        )
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)

    return ask


def _concept(place: Place, turn: int) -> dict[str, Any]:
    return {"concept_id": str(id_of("concept", 5 * place.user(turn) + 4))}


API: dict[str, Operation] = {
    "GET /v1/me": _request("GET", "/v1/me"),
    "GET /v1/me (busy)": _request("GET", "/v1/me", user=1),
    "GET /v1/jobs": _request("GET", "/v1/jobs"),
    "GET /v1/jobs (busy)": _request("GET", "/v1/jobs?limit=200", user=1),
    "GET /v1/jobs?status= (busy)": _request("GET", "/v1/jobs?status=running", user=1),
    "GET /v1/jobs?kind= (busy)": _request("GET", "/v1/jobs?kind=erase", user=1),
    "GET /v1/jobs?lineage_id=": _request("GET", "/v1/jobs?lineage_id={lineage}"),
    "GET /v1/jobs/{id}": _request("GET", "/v1/jobs/{drawing}"),
    "GET /v1/jobs/{id} (queued)": _request("GET", "/v1/jobs/{queued}", user=1),
    "POST /v1/jobs/{id}/cancel": _request("POST", "/v1/jobs/{training}/cancel", status=409),
    "GET /v1/lineages": _request("GET", "/v1/lineages"),
    "GET /v1/lineages (busy)": _request("GET", "/v1/lineages?limit=200", user=1),
    "GET /v1/lineages/{id}": _request("GET", "/v1/lineages/{lineage}"),
    "POST /v1/lineages": _request(
        "POST",
        "/v1/lineages",
        lambda _p, _t: {"name": "a", "base_model": "tiny", "strategy": {"name": "merge"}},
        status=201,
    ),
    "PATCH /v1/lineages/{id}": _request("PATCH", "/v1/lineages/{lineage}", lambda _p, _t: {"name": "b"}),
    "GET /v1/lineages/{id}/versions": _request("GET", "/v1/lineages/{lineage}/versions"),
    "GET /v1/lineages/{id}/versions/{n}": _request("GET", "/v1/lineages/{lineage}/versions/3"),
    "GET /v1/lineages/{id}/compare": _request("GET", "/v1/lineages/{lineage}/compare?from=1&to=3"),
    "GET .../adapter": _request("GET", "/v1/lineages/{lineage}/versions/3/adapter?format=diffusers", status=503),
    "POST .../versions": _request("POST", "/v1/lineages/{lineage}/versions", _concept, status=202),
    "POST .../versions (busy)": _request(
        "POST",
        "/v1/lineages/{lineage}/versions",
        lambda _p, _t: {"concept_id": str(id_of("concept", 9))},
        user=1,
        status=202,
    ),
    "POST .../reproduce": _request("POST", "/v1/lineages/{lineage}/versions/3/reproduce", status=202),
    "POST .../branches": _request(
        "POST", "/v1/lineages/{lineage}/branches", lambda _p, _t: {"from_version": 3, "name": "c"}, status=201
    ),
    "POST .../rollback": _request("POST", "/v1/lineages/{lineage}/rollback", lambda _p, _t: {"to_version": 5}),
    "POST .../promote": _request("POST", "/v1/lineages/{lineage}/versions/9/promote"),
    "POST .../erasures": _request(
        "POST",
        "/v1/lineages/{lineage}/erasures",
        lambda place, turn: {"concept_id": str(id_of("concept", 5 * place.user(turn))), "mode": "refold"},
        status=202,
    ),
    "POST .../evaluations": _request("POST", "/v1/lineages/{lineage}/evaluations", lambda _p, _t: {}, status=202),
    "GET /v1/evaluations": _request("GET", "/v1/evaluations"),
    "GET /v1/evaluations?lineage_id=": _request("GET", "/v1/evaluations?lineage_id={lineage}"),
    "GET /v1/evaluations/{id}": _request("GET", "/v1/evaluations/{evaluation}", user=1),
    "GET /v1/evaluations/{id}.csv": _request("GET", "/v1/evaluations/{evaluation}.csv", user=1, status=404),
    "GET /v1/evaluations/{id}/{file}": _request("GET", "/v1/evaluations/{evaluation}/heatmap.png", user=1, status=503),
    "POST /v1/generations": _request(
        "POST",
        "/v1/generations",
        lambda place, turn: {
            "lineage_id": str(id_of("lineage", place.lineage(turn))),
            "prompt": "a photo of <rex>",
            "num_images": 1,
        },
        status=202,
    ),
    "GET /v1/generations": _request("GET", "/v1/generations"),
    "GET /v1/generations (busy)": _request("GET", "/v1/generations?limit=200", user=1),
    "GET /v1/generations/{id}": _request("GET", "/v1/generations/{generation}"),
    "GET /v1/generations/{id}/images/{n}": _request("GET", "/v1/generations/{generation}/images/0", status=503),
    "GET /v1/concepts": _request("GET", "/v1/concepts"),
    "GET /v1/concepts/{id}": _request("GET", "/v1/concepts/{concept}"),
    "GET /v1/concepts/{id}/images/{n}": _request("GET", "/v1/concepts/{concept}/images/0", status=503),
    "GET /v1/deletions": _request("GET", "/v1/deletions"),
    "GET /v1/deletions/{id}": _request("GET", "/v1/deletions/{deletion}"),
    "GET /v1/keys": _request("GET", "/v1/keys"),
    "POST /v1/keys": _request("POST", "/v1/keys", lambda _p, _t: {"name": "another", "scope": "read"}, status=201),
    "DELETE /v1/keys/{id}": _request("DELETE", "/v1/keys/{key}", status=204),
    "GET /v1/base-models": _request("GET", "/v1/base-models"),
    "GET /v1/users": _request("GET", "/v1/users", user=0),
    "PUT /v1/users/{id}/quotas": _request("PUT", "/v1/users/{user}/quotas", lambda _p, _t: {}, user=0),
    "DELETE /v1/generations/{id}": _request("DELETE", "/v1/generations/{generation}", status=204),
    "DELETE /v1/concepts/{id}": _request("DELETE", "/v1/concepts/{concept}", status=204),
    "DELETE /v1/lineages/{id}": _request("DELETE", "/v1/lineages/{lineage}", status=204),
}


def _claim(*kinds: JobKind) -> Operation:
    def claim(place: Place, _: int) -> None:
        with transaction(place.engine) as session:
            claimed = leases.claim(session, kinds, "somebody", LEASE_SECONDS)
            if claimed is not None:
                leases.renew(session, claimed, LEASE_SECONDS, Phase.TRAINING, None)
                leases.finish(session, claimed, JobStatus.CANCELED)

    return claim


def _tend(place: Place, _: int) -> None:
    place.sweeper.tend()


def _collect(place: Place, _: int) -> None:
    place.sweeper.collect()


PROCESSES: dict[str, Operation] = {
    "claim a training": _claim(JobKind.TRAIN),
    "claim a generation": _claim(JobKind.GENERATE),
    "claim an evaluation": _claim(JobKind.EVALUATE),
    "claim anything": _claim(JobKind.TRAIN, JobKind.GENERATE, JobKind.EVALUATE),
    "a round of sweeping": _tend,
    "a round of collection": _collect,
}
