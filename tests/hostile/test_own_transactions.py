"""Nothing waits on its own transaction, and nobody's waits take what others need."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager

import httpx
import pytest
from safetensors.numpy import save
from sqlalchemy import Engine, text

from app.db.session import NestedTransactionError, async_transaction, make_async_engine, make_engine, transaction
from app.db.tables import User
from app.domain.patience import Patience
from app.settings import Settings
from app.storage import ObjectStore
from tests.hostile.place import Place
from tests.hostile.sockets import sending
from tests.integration.api.inputs import new_lineage
from tests.integration.api.worker_side import random_factors

LORA = save(random_factors(1, 4))
WAITERS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
SOON_SECONDS = 10.0


def import_request(client: httpx.Client, lineage: str) -> httpx.Request:
    return client.build_request(
        "POST", f"/v1/lineages/{lineage}/import", files={"file": ("a.safetensors", LORA, "x/y")}
    )


def objects(api: Place) -> tuple[int, int]:
    with api.engine.connect() as connection:
        rows = connection.execute(text("SELECT count(*) FROM objects")).scalar_one()
    return int(rows), sum(1 for _ in ObjectStore(api.settings).list(""))


def test_imports_over_quota_are_refused_at_once_and_hold_nothing(api: Place) -> None:
    with api.client(api.new_key(unfinished_jobs=0)) as client:
        lineage, before = new_lineage(client), objects(api)
        began = time.monotonic()
        with ThreadPoolExecutor(30) as pool:
            sent = [pool.submit(client.send, import_request(client, lineage)) for _ in range(30)]
            assert {one.result(SOON_SECONDS).status_code for one in sent} == {429}
        assert time.monotonic() - began < SOON_SECONDS
        assert client.get("/health/ready").status_code == 200
    assert objects(api) == before
    with api.engine.connect() as connection:
        assert connection.execute(text(WAITERS)).scalar_one() == 0


def test_a_quota_that_is_used_up_while_the_file_comes_leaves_nothing(api: Place) -> None:
    """What was put must go although the transaction that failed had touched its row."""
    with api.client(api.new_key(unfinished_jobs=1)) as client:
        lineage, before = new_lineage(client), objects(api)
        request = import_request(client, lineage)
        body = request.read()
        with sending(api, request, len(body)) as sender:
            assert sender.send(body[:100])
            drawn = client.post("/v1/generations", json={"lineage_id": lineage, "prompt": "a cat"})
            assert drawn.status_code == 202
            assert sender.send(body[100:])
            assert sender.status(SOON_SECONDS) == 429
        assert client.get("/v1/me").status_code == 200
    assert objects(api) == before


@contextmanager
def locked(engine: Engine, user_id: str) -> Iterator[None]:
    with transaction(engine) as session:
        session.get_one(User, user_id, with_for_update=True)
        yield


def test_who_waits_for_a_lock_gives_up_and_takes_no_more_than_a_share(api: Place, client: httpx.Client) -> None:
    with api.client(api.new_key()) as stuck:
        lineage = new_lineage(stuck)
        user = stuck.get("/v1/me").json()["user"]["id"]
        with ThreadPoolExecutor(30) as pool, locked(api.engine, user):
            body = {"lineage_id": lineage, "prompt": "a cat"}
            sent = [pool.submit(stuck.post, "/v1/generations", json=body) for _ in range(30)]
            while not wait(sent, timeout=0.1, return_when=FIRST_COMPLETED).done:
                began = time.monotonic()
                assert client.get("/v1/jobs").status_code == 200
                assert client.get("/health/ready").status_code == 200
                assert time.monotonic() - began < SOON_SECONDS
            # The first gave up after the API's patience for locks, while the lock was still held.
            refused = next(one.result() for one in sent if one.done())
            assert refused.status_code == 503
            assert "Retry-After" in refused.headers
        assert {one.result().status_code for one in sent} <= {202, 503}


LIMITS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


@pytest.mark.parametrize("pooler", [False, True])
@pytest.mark.parametrize("role", ["api_patience", "worker_patience"])
def test_every_role_has_its_patience(settings: Settings, role: str, pooler: bool) -> None:
    assert settings.database_url is not None
    patience: Patience = getattr(settings, role)
    engine = make_engine(settings.database_url, patience, pooler=pooler)
    with engine.begin() as connection:
        found = {name: connection.execute(text(f"SHOW {name}")).scalar_one() for name in LIMITS}
    engine.dispose()
    assert found == {name: f"{milliseconds // 1000}s" for name, milliseconds in patience.settings().items()} | {
        name: "2min" for name, milliseconds in patience.settings().items() if milliseconds == 120_000
    }


@pytest.mark.parametrize("pooler", [False, True])
def test_a_connection_that_the_server_has_ended_is_replaced(settings: Settings, pooler: bool) -> None:
    assert settings.database_url is not None
    engine, other = (make_engine(settings.database_url, pooler=pooler) for _ in range(2))
    with engine.begin() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with other.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    with engine.begin() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != pid
    engine.dispose()
    other.dispose()


def test_a_task_opens_no_transaction_within_its_own(settings: Settings) -> None:
    async def nest() -> None:
        assert settings.database_url is not None
        engine = make_async_engine(settings.database_url, settings.api_patience)
        try:
            async with async_transaction(engine):
                with pytest.raises(NestedTransactionError):
                    async with async_transaction(engine):
                        pass
            async with async_transaction(engine) as session:
                assert await session.scalar(text("SELECT 1")) == 1
        finally:
            await engine.dispose()

    asyncio.run(nest())
