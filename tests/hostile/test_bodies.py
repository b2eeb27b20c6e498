"""No body is read before its sender is known and may send it; then it costs bounded memory, and bounded time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from app.settings import Settings
from tests.hostile.place import MIB, Place, place
from tests.hostile.sockets import sending
from tests.integration.api.inputs import files, image, new_lineage

MOST_GROWTH = 16 * MIB
CHUNK = bytes(MIB)
FORM = "multipart/form-data; boundary=b"
IDS = ("lineage_id", "concept_id", "job_id", "generation_id", "evaluation_id", "user_id", "key_id", "deletion_id")


def operations(api: Place) -> Iterator[tuple[str, str]]:
    """Every method and path of the API, and methods that a path does not have."""
    with api.client(None) as nobody:
        paths = nobody.get("/openapi.json").json()["paths"]
    for path in paths:
        filled = path.format_map(dict.fromkeys(IDS, uuid4()) | {"number": 1, "position": 0, "file": "x", "name": "x"})
        yield from ((method, filled) for method in ("POST", "PATCH", "PUT", "DELETE", "GET"))


@pytest.mark.parametrize("content_type", ["application/json", "multipart/x", FORM])
def test_without_a_key_no_body_makes_the_api_grow(api: Place, content_type: str) -> None:
    cases = [*operations(api), ("PATCH", "/v1/lineages/import"), ("POST", f"/v1/lineages/{uuid4()}/import")]
    with api.client(None) as nobody:
        nobody.get("/v1/me")
        before = api.forget_peak()
        for method, path in cases:
            request = httpx.Request(method, path, headers={"Content-Type": content_type})
            with sending(api, request, 2000 * MIB) as sender:
                for _ in range(24):
                    if not sender.send(CHUNK):
                        break
        assert nobody.get("/health/live").status_code == 200
    assert api.peak_bytes() - before <= MOST_GROWTH


@pytest.mark.parametrize("content_type", ["application/json", "multipart/x"])
def test_a_key_makes_no_route_read_more_than_it_takes(api: Place, client: httpx.Client, content_type: str) -> None:
    client.get("/v1/me")
    before = api.forget_peak()
    headers = {"Content-Type": content_type}
    for method, path in [
        ("PATCH", "/v1/lineages/import"),
        ("POST", "/v1/lineages"),
        ("PATCH", f"/v1/lineages/{uuid4()}"),
    ]:
        with sending(api, client.build_request(method, path, headers=headers)) as sender:
            for _ in range(100):
                if not sender.send(b"100000\r\n" + CHUNK + b"\r\n"):
                    break
            else:
                assert sender.status() in (400, 413, 422)
    assert api.peak_bytes() - before <= MOST_GROWTH


def test_who_has_no_quota_is_refused_before_the_first_byte(api: Place) -> None:
    with api.client(api.new_key(images=0, stored_bytes=0, unfinished_jobs=0)) as client, ExitStack() as stack:
        lineage = new_lineage(client)
        before = api.forget_peak()
        for path in ["/v1/concepts"] * 20 + [f"/v1/lineages/{lineage}/import"] * 8:
            request = client.build_request("POST", path, headers={"Content-Type": FORM})
            sender = stack.enter_context(sending(api, request, 60 * MIB))
            assert sender.status(10) == 429
    assert api.peak_bytes() - before <= MOST_GROWTH


def test_an_import_into_a_lineage_that_is_not_there_is_refused_before_the_first_byte(
    api: Place, client: httpx.Client
) -> None:
    request = client.build_request("POST", f"/v1/lineages/{uuid4()}/import", headers={"Content-Type": FORM})
    with sending(api, request, 60 * MIB) as sender:
        assert sender.status(10) == 404


def test_open_forms_are_few_lie_on_disk_and_hold_up_nobody_else(api: Place, client: httpx.Client) -> None:
    form = client.build_request(
        "POST", "/v1/concepts", data={"name": "x", "kind": "style"}, files=files(*[bytes(MIB)] * 45)
    )
    body = form.read()
    with api.client(api.new_key()) as hostile, ExitStack() as stack:
        hostile.get("/v1/me")
        before = api.forget_peak()
        form.headers["Authorization"] = hostile.headers["Authorization"]
        senders = [stack.enter_context(sending(api, form, len(body))) for _ in range(20)]
        with ThreadPoolExecutor(20) as pool:
            # All but the end: those whose turn it is are read, and stay open; the others are not read.
            sent = [pool.submit(sender.send, body[:-100]) for sender in senders]
            fields = {"name": "mine", "kind": "style"}
            answer = client.post("/v1/concepts", data=fields, files=files(image()), timeout=10)
            assert answer.status_code == 201, answer.text
            assert api.peak_bytes() - before <= 4 * MOST_GROWTH
            assert sum(one.done() for one in sent) <= 4
            stack.close()


def test_a_body_that_comes_too_slowly_is_given_up(settings: Settings, tmp_path: Path) -> None:
    hasty = settings.model_copy(update={"min_body_bytes_per_second": 10 * MIB})
    with place(hasty, tmp_path) as api, api.client(api.admin_key) as client:
        for path, kind in (("/v1/concepts", FORM), ("/v1/lineages", "application/json")):
            request = client.build_request("POST", path, headers={"Content-Type": kind})
            with sending(api, request, MIB // 2) as sender:
                assert sender.send(b"--b\r\n")
                assert sender.status(30) == 408
