"""What every answer carries, what every request leaves in the log, and what never gets there."""

import io
import json
import logging
from collections.abc import Iterator

import httpx
import pytest

from app.logs import JsonFormatter
from app.main import create_app
from app.settings import Settings
from tests.integration.api.conftest import serving
from tests.integration.api.inputs import files, image, new_concept, new_lineage
from tests.integration.api.state import Server

OPERATIONS = [
    (method, path, operation)
    for path, methods in create_app(Settings()).openapi()["paths"].items()
    for method, operation in methods.items()
]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the processes' own handler would have written."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # The test's own client.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    yield written
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.mark.parametrize("path", ["/v1/me", "/v1/nothing", "/health/live", "/docs", "/openapi.json"])
def test_every_answer_is_dressed(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert ("script-src" in headers["Content-Security-Policy"]) == (path == "/docs")
    if path.startswith("/v1/"):
        assert headers["Cache-Control"] == "no-store"


def test_a_request_id_is_kept_where_it_is_one(client: httpx.Client) -> None:
    assert client.get("/v1/me", headers={"X-Request-ID": "from-a-proxy.1"}).headers["X-Request-ID"] == "from-a-proxy.1"
    for bad in ("a b", "a" * 65, '{"level": "ERROR"}', ""):
        answered = client.get("/v1/me", headers={"X-Request-ID": bad}).headers["X-Request-ID"]
        assert answered != bad
        assert len(answered) == 36


def test_no_page_of_another_origin_may_call(client: httpx.Client) -> None:
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    for answer in (client.options("/v1/concepts", headers=asked), client.get("/v1/me", headers=asked)):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_an_origin_that_the_operator_names_may(settings: Settings) -> None:
    with serving(settings.model_copy(update={"cors_origins": ("https://ours.example",)})) as url:
        for origin, is_ours in (("https://ours.example", True), ("https://elsewhere.example", False)):
            asked = {
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,idempotency-key",
            }
            allowed = httpx.options(f"{url}/v1/concepts", headers=asked).headers.get("Access-Control-Allow-Origin")
            assert allowed == (origin if is_ours else None)


def test_the_log_tells_ids_and_no_secrets(server: Server, client: httpx.Client, log: io.StringIO) -> None:
    secrets = ["a prompt that nobody may read", "another that is negative", "pal_a-key-that-was-mistyped"]
    secrets.append(client.headers["Authorization"].removeprefix("Bearer "))
    lineage = new_lineage(client)
    body = {"lineage_id": lineage, "prompt": secrets[0], "negative_prompt": secrets[1]}
    job = client.post("/v1/generations", json=body, headers={"X-Request-ID": "tell-me"}).json()
    client.post("/v1/generations", json={**body, "prompt": f"<unknown> {secrets[0]}"})
    client.post("/v1/generations", json={**body, "steps": secrets[0]})
    client.get(f"/v1/generations/{secrets[0]}?cursor={secrets[0]}")
    client.get("/v1/me", headers={"Authorization": f"Bearer {secrets[2]}"})
    secrets.append(client.post("/v1/keys", json={"name": "spare"}).json()["key"])
    new_concept(client, "rex")
    client.post("/v1/concepts", data={"name": "x", "kind": "style"}, files=files(image()[:40]))
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert all(set(line) >= {"time", "level", "logger", "message"} for line in lines)
    ours = [line for line in lines if line.get("request_id") == "tell-me"]
    assert job["id"] in [line.get("job_id") for line in ours]
    request = next(line for line in ours if line["message"] == "request")
    assert (request["method"], request["route"], request["status"]) == ("POST", "/v1/generations", 202)
    assert request["user_id"] == client.get("/v1/me").json()["user"]["id"]
    for secret in secrets:
        assert secret not in log.getvalue()
    # "PNG", as raw bytes or in base64 or hexadecimal.
    for picture in ("\\u0089PNG", "iVBORw0KGgo", "89504e47"):
        assert picture not in log.getvalue()


def test_an_unexpected_error_does_not_tell_its_input(client: httpx.Client, log: io.StringIO, server: Server) -> None:
    prompt = "a prompt that no constraint likes"
    lineage = new_lineage(client)
    with server.engine.begin() as connection:
        connection.exec_driver_sql(
            "ALTER TABLE generations ADD CONSTRAINT none CHECK (prompt NOT LIKE 'a prompt that no con%%')"
        )
    try:
        answer = client.post("/v1/generations", json={"lineage_id": lineage, "prompt": prompt})
    finally:
        with server.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE generations DROP CONSTRAINT none")
    assert answer.status_code == 500
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Request-ID"] in log.getvalue()
    assert prompt not in answer.text
    assert "constraint" in log.getvalue()
    assert prompt not in log.getvalue()


def test_every_post_takes_an_idempotency_key() -> None:
    for method, path, operation in OPERATIONS:
        names = [parameter["name"] for parameter in operation.get("parameters", [])]
        assert ("Idempotency-Key" in names) == (method == "post"), f"{method} {path}"


def test_a_line_break_starts_no_line() -> None:
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "a\nb %s", ("c\nd",), None)
    assert JsonFormatter().format(record).count("\n") == 0
