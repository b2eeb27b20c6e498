"""Texts of any alphabet come back as they were sent, their lengths are limited, and none is taken for anything else."""

import json
from collections.abc import Callable
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.main import create_app
from app.settings import Settings
from tests.integration.api.belongings import Names
from tests.integration.api.inputs import BASE, files, image, new_lineage
from tests.integration.api.state import Server

# All of Unicode but what no text may hold: U+0000, which Postgres cannot keep, and halves of surrogate pairs.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
FEW = hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

HOSTILE = [
    "'; DROP TABLE jobs; --",
    "' OR '1'='1",
    '" OR ""="',
    "%' UNION SELECT sha256 FROM api_keys --",
    "\\'; SELECT pg_sleep(10); --",
    "../../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "/etc/passwd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "file:///etc/passwd",
    "x\r\nSet-Cookie: planted=1",
    "x\r\n\r\nHTTP/1.1 200 OK",
    "$(touch planted)`touch planted`",
    "{{7*7}}${7*7}%s%n",
    "<script>planted()</script>",
    "\u202egnp.exe\u2066",
    "\ufeffrex",
    "\x1b[2Jplanted",
]

_PATHS = create_app(Settings()).openapi()["paths"]
NAMED = [f"{method} {path}" for path, methods in _PATHS.items() if "{" in path for method in methods]
LISTS = [path for path, methods in _PATHS.items() if "{" not in path and "get" in methods and path.startswith("/v1/")]


@pytest.fixture(scope="module")
def lineage(server: Server) -> str:
    """A lineage of the admin's, for all examples."""
    with server.client(server.admin_key) as client:
        return new_lineage(client)


@FEW
@given(name=st.text(CHARACTERS, min_size=1, max_size=100))
@example("жук-🪲-虫-\u202eabc")
@example("e\u0301" * 50)
@example("👩‍👩‍👧‍👦")
def test_a_name_comes_back(admin: httpx.Client, lineage: str, name: str) -> None:
    before = admin.get(f"/v1/lineages/{lineage}").json()["name"]
    answer = admin.patch(f"/v1/lineages/{lineage}", json={"name": name})
    kept = admin.get(f"/v1/lineages/{lineage}").json()["name"]
    if answer.status_code == 422:
        # Nothing but white space, which is stripped.
        assert (name.strip(), kept) == ("", before)
    else:
        assert answer.json()["name"] == kept
        assert kept in name
        assert kept.strip() == name.strip()
        assert kept in [item["name"] for item in admin.get("/v1/lineages").json()["items"]]


@FEW
@given(prompt=st.text(CHARACTERS, max_size=2000), negative=st.text(CHARACTERS, max_size=200))
@example("a" * 2000, "")
@example("🦁" * 2000, "\u202e")
@example("line\r\nbreaks\ttoo", "\x1b[2J")
@example("", "<")
def test_a_prompt_comes_back(admin: httpx.Client, lineage: str, prompt: str, negative: str) -> None:
    # `<` begins a concept's name; written so, it is a letter like others.
    asked = [text.replace("\\", "").replace("<", "\\<")[:2000].removesuffix("\\") for text in (prompt, negative)]
    body = {"lineage_id": lineage, "prompt": asked[0], "negative_prompt": asked[1]}
    answer = admin.post("/v1/generations", json=body)
    assert answer.status_code == 202, answer.text
    shown = admin.get(f"/v1/generations/{answer.json()['result']['generation_id']}").json()
    assert shown["prompt"] == asked[0]
    assert [shown["resolved_prompt"], shown["negative_prompt"]] == [text.replace("\\<", "<") for text in asked]


def _of_prompt(client: httpx.Client, lineage: str, text: str) -> httpx.Response:
    return client.post("/v1/generations", json={"lineage_id": lineage, "prompt": text})


def _of_negative_prompt(client: httpx.Client, lineage: str, text: str) -> httpx.Response:
    return client.post("/v1/generations", json={"lineage_id": lineage, "prompt": "a cat", "negative_prompt": text})


def _of_lineage(client: httpx.Client, lineage: str, text: str) -> httpx.Response:
    return client.post("/v1/lineages", json={"name": text, "base_model": BASE, "strategy": {"name": "merge"}})


def _of_changed_lineage(client: httpx.Client, lineage: str, text: str) -> httpx.Response:
    return client.patch(f"/v1/lineages/{lineage}", json={"name": text})


def _of_branch(client: httpx.Client, lineage: str, text: str) -> httpx.Response:
    return client.post(f"/v1/lineages/{lineage}/branches", json={"from_version": 0, "name": text})


def _of_key(client: httpx.Client, lineage: str, text: str) -> httpx.Response:
    return client.post("/v1/keys", json={"name": text})


def _of_user(client: httpx.Client, lineage: str, text: str) -> httpx.Response:
    return client.post("/v1/users", json={"name": text})


def _of_class_noun(client: httpx.Client, lineage: str, text: str) -> httpx.Response:
    fields = {"name": f"c-{len(text)}-{hash(text) % 10**9}", "kind": "object", "class_noun": text}
    return client.post("/v1/concepts", data=fields, files=files(image()))


FIELDS: dict[str, tuple[int, Callable[[httpx.Client, str, str], httpx.Response]]] = {
    "a prompt": (2000, _of_prompt),
    "a negative prompt": (2000, _of_negative_prompt),
    "a lineage": (100, _of_lineage),
    "a changed lineage": (100, _of_changed_lineage),
    "a branch": (100, _of_branch),
    "a key": (100, _of_key),
    "a user": (100, _of_user),
    "a class noun": (64, _of_class_noun),
}


@pytest.mark.parametrize("letter", ["a", "ж", "🦁"])
@pytest.mark.parametrize("field", FIELDS)
def test_lengths_are_limited_in_characters(admin: httpx.Client, lineage: str, field: str, letter: str) -> None:
    limit, send = FIELDS[field]
    assert send(admin, lineage, letter * limit).is_success
    refused = send(admin, lineage, letter * (limit + 1))
    assert refused.status_code == 422
    assert str(limit) in refused.json()["errors"][0]["message"]
    assert len(refused.content) < 1000


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"], ids=["U+0000", "half a surrogate pair"])
def test_what_no_text_may_hold(admin: httpx.Client, lineage: str, field: str, text: str) -> None:
    if field == "a class noun" and "\0" not in text:
        pytest.skip("a form is UTF-8, which has no halves")
    client = httpx.Client(base_url=admin.base_url, headers=admin.headers, event_hooks={"request": [_escape_halves]})
    with client:
        assert FIELDS[field][1](client, lineage, text.replace("\ud800", "HALF")).status_code == 422


def _escape_halves(request: httpx.Request) -> None:
    """JSON can carry half a pair as an escape; httpx would not write it."""
    if request.headers["Content-Type"] == "application/json":
        content = request.read().replace(b"HALF", b"\\ud800")
        request.stream = httpx.ByteStream(content)
        request.headers["Content-Length"] = str(len(content))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_a_text(server: Server, admin: httpx.Client, lineage: str, text: str) -> None:
    before = server.contents()
    for field in ("a changed lineage", "a branch", "a key"):
        answer = FIELDS[field][1](admin, lineage, text)
        assert answer.is_success, answer.text
        assert answer.json()["name"] == text
        assert "set-cookie" not in answer.headers
    added = {name: count - before[name] for name, count in server.contents().items() if count != before[name]}
    assert added == {"lineages": 1, "api_keys": 1}


@pytest.mark.parametrize("route", NAMED)
def test_a_hostile_text_in_a_path_names_nothing(server: Server, admin: httpx.Client, route: str) -> None:
    method, template = route.split()
    before = server.contents()
    names = [name for name in Names.__dataclass_fields__ if f"{{{name}}}" in template]
    for text in HOSTILE:
        hostile = {name: quote(text, safe="") for name in names}
        answer = admin.request(method, template.format_map(hostile), json=None if method == "get" else {})
        assert answer.status_code in (404, 405, 409, 422), (text, answer.text)
        assert "set-cookie" not in answer.headers
        assert "root:" not in answer.text
    assert server.contents() == before


@pytest.mark.parametrize("path", LISTS)
def test_a_hostile_text_in_a_query_finds_nothing(server: Server, admin: httpx.Client, path: str) -> None:
    before = server.contents()
    known = [each["name"] for each in _PATHS[path]["get"].get("parameters", []) if each["in"] == "query"]
    for text in HOSTILE:
        for name in known:
            answer = admin.get(path, params={name: text})
            assert answer.status_code == 422, (name, answer.text)
            assert "set-cookie" not in answer.headers
    assert server.contents() == before


@pytest.mark.parametrize("text", [text for text in HOSTILE if text.isascii() and text.isprintable()])
def test_a_hostile_header_is_a_key_like_any_other(server: Server, admin: httpx.Client, text: str) -> None:
    before = server.contents()
    headers = {"Idempotency-Key": text, "If-None-Match": text, "X-Request-ID": text}
    answers = [admin.post("/v1/keys", json={"name": json.dumps(text)}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 409]
    assert not any(text in value for answer in answers for value in answer.headers.values())
    added = {name: count - before[name] for name, count in server.contents().items() if count != before[name]}
    assert added == {"api_keys": 1, "idempotency_keys": 1}
    with server.client(text) as stranger:
        assert stranger.get("/v1/me").status_code == 401
