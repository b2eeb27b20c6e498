"""Bad input gets a problem document and leaves nothing behind, neither a row nor an object."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL.ImageFile import ImageFile

from app.settings import MIB, Settings
from tests.integration.api.conftest import running_server
from tests.integration.api.inputs import BASE, Files, files, image, new_concept, new_lineage, png_header
from tests.integration.api.state import Server

JSON = {"Content-Type": "application/json"}
FIELDS = {"name": "rex", "kind": "object", "class_noun": "dog"}
LINEAGE = {"name": "pets", "base_model": BASE, "strategy": {"name": "merge"}}


@pytest.fixture(scope="module")
def server(module_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes no more than 64 MiB of pictures, so that more of them is soon sent."""
    small = module_settings.model_copy(update={"requests_per_second": 1e6, "max_body_bytes": 64 * MIB})
    with running_server(small, tmp_path_factory.mktemp("bases")) as running:
        yield running


@pytest.fixture
def nothing_left(server: Server, client: httpx.Client) -> Iterator[None]:
    """Proves that the test, from here on, has added nothing."""
    before = server.contents()
    yield
    assert server.contents() == before


def assert_problem(answer: httpx.Response, status: int, *mentions: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) >= {"type", "title", "status", "detail", "instance"}
    assert problem["status"] == status
    for mention in mentions:
        assert mention in answer.text


def bad_files() -> dict[str, tuple[Files, str]]:
    good = image()
    return {
        "a text named .png": (files(good, b"just a text, whatever its name says"), "images[1]: 1.png"),
        "an empty file": (files(b""), "images[0]: 0.png"),
        "a GIF": (files(image(form="GIF")), "images[0]: 0.png"),
        "30,000 x 30,000": (files(good, good, png_header(30_000, 30_000)), "pixels"),
        "just over the limit": (files(png_header(5001, 5000)), "pixels"),
        "a damaged PNG": (files(image(300, 300)[:-200]), "damaged"),
        "a damaged JPEG": (files(image(300, 300, "JPEG")[:300]), "images[0]: 0.png"),
        "51 images": (files(*[good] * 51), "at most 50"),
        "no image": ([("other", ("a.png", good, "image/png"))], "other"),
        "a file of 16 MiB and a byte": (files(bytes(16 * MIB + 1)), "larger than"),
    }


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("case", list(bad_files()))
def test_bad_files(client: httpx.Client, case: str) -> None:
    parts, mention = bad_files()[case]
    assert_problem(client.post("/v1/concepts", data=FIELDS, files=parts), 422, mention)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("fields", "mention"),
    [
        ({"kind": "object", "class_noun": "dog"}, "name"),
        ({**FIELDS, "name": "Not A Name"}, "name"),
        ({**FIELDS, "kind": "animal"}, "kind"),
        ({**FIELDS, "class_noun": "<dog>"}, "class_noun"),
        ({**FIELDS, "class_noun": "a\0b"}, "class_noun"),
        ({"name": "rex", "kind": "object"}, "class_noun"),
        ({"name": "rex", "kind": "style", "class_noun": "dog"}, "class_noun"),
        ({**FIELDS, "colour": "brown"}, "colour"),
        ({**FIELDS, "images": "a text"}, "images"),
        ({**FIELDS, "name": ["rex", "max"]}, "name"),
    ],
)
def test_bad_fields_of_a_concept(client: httpx.Client, fields: dict[str, str], mention: str) -> None:
    assert_problem(client.post("/v1/concepts", data=fields, files=files(image())), 422, mention)


@pytest.mark.usefixtures("nothing_left")
def test_a_huge_png_is_refused_by_its_header_alone(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[ImageFile] = []
    monkeypatch.setattr(ImageFile, "load", decoded.append)
    answer = client.post("/v1/concepts", data=FIELDS, files=files(*[png_header(30_000, 30_000)] * 50))
    assert_problem(answer, 422, "pixels")
    assert decoded == []


def test_a_taken_name(server: Server, client: httpx.Client) -> None:
    new_concept(client, "rex")
    before = server.contents()
    assert_problem(client.post("/v1/concepts", data=FIELDS, files=files(image())), 409, "rex")
    assert server.contents() == before


def test_simultaneous_uploads_of_one_name(server: Server, client: httpx.Client) -> None:
    before = server.contents()
    with ThreadPoolExecutor(5) as pool:
        answers = list(
            pool.map(lambda _: client.post("/v1/concepts", data=FIELDS, files=files(image(), image())), range(5))
        )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    added = {name: count - before[name] for name, count in server.contents().items() if count != before[name]}
    assert added == {"concepts": 1, "concept_images": 2, "objects": 2, "the bucket": 2}


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("body", "mentions"),
    [
        ({**LINEAGE, "strategy": {"name": "magic"}}, ("magic", "naive", "merge")),
        ({**LINEAGE, "strategy": {"name": "merge", "strength": 2}}, ("strength",)),
        ({**LINEAGE, "training": {"rank": 0}}, ("training.rank",)),
        ({**LINEAGE, "training": {"rang": 4}}, ("training.rang",)),
        ({**LINEAGE, "training": {"lr_scheduler": "piecewise_constant"}}, ("lr_step_rules",)),
        ({**LINEAGE, "training": {"learning_rate": float("inf")}}, ("learning_rate",)),
        ({**LINEAGE, "base_model": "unheard-of"}, ("base_model", "unheard-of")),
        ({**LINEAGE, "name": "a\0b"}, ("name",)),
        ({**LINEAGE, "name": " "}, ("name",)),
        ({**LINEAGE, "\ud800": 1}, ("errors",)),
        ([], ("errors",)),
    ],
)
def test_bad_lineages(client: httpx.Client, body: object, mentions: tuple[str, ...]) -> None:
    assert_problem(client.post("/v1/lineages", content=json.dumps(body), headers=JSON), 422, *mentions)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000, b'{"name": "pets"'])
def test_what_is_no_json(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/v1/lineages", content=body, headers=JSON)
    assert_problem(answer, 400)


def test_bad_generations(server: Server, client: httpx.Client) -> None:
    lineage = new_lineage(client)
    before = server.contents()
    good = {"lineage_id": lineage, "prompt": "a cat"}
    for change in (
        {"prompt": "<rex> on a beach"},
        {"negative_prompt": "<rex>"},
        {"prompt": "a\0b"},
        {"version": 1},
        {"version": 2**40},
        {"num_images": 0},
        {"num_images": 17},
        {"seed": 2**53},
        {"steps": 0},
        {"guidance_scale": float("nan")},
        {"width": 128},
        {"height": 32},
        {"width": 0},
        {"height": 2**40},
        {"width": 64.5},
    ):
        answer = client.post("/v1/generations", content=json.dumps({**good, **change}), headers=JSON)
        assert_problem(answer, 422, next(iter(change)))
    assert server.contents() == before


def test_unknown_names_in_a_prompt_list_the_known(client: httpx.Client) -> None:
    answer = client.post("/v1/generations", json={"lineage_id": new_lineage(client), "prompt": "<rex>"})
    assert_problem(answer, 422, "knows: none yet", "urn:palimpsest:problem:unknown-concept")


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("query", ["cursor=nonsense", "cursor=%00", "cursor=AAAA", "limit=0", "limit=1000"])
def test_bad_pages(client: httpx.Client, query: str) -> None:
    assert_problem(client.get(f"/v1/concepts?{query}"), 422)


@pytest.mark.usefixtures("nothing_left")
def test_what_is_not_there(client: httpx.Client) -> None:
    assert_problem(client.get("/v1/nothing"), 404)
    assert_problem(client.put("/v1/concepts"), 405)
    assert_problem(client.get("/v1/concepts/not-an-id"), 422)


@pytest.mark.usefixtures("nothing_left")
def test_no_key_or_a_wrong_one(server: Server) -> None:
    for headers in ({}, {"Authorization": "Bearer pal_wrong"}, {"Authorization": "Basic x"}, {"Authorization": "é"}):
        with server.client(None) as client:
            parts = [(name.encode(), value.encode()) for name, value in headers.items()]
            answer = client.post("/v1/concepts", data=FIELDS, files=files(image()), headers=parts)
            assert_problem(answer, 401)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def _form(*, is_complete: bool) -> tuple[bytes, dict[str, str]]:
    request = httpx.Request("POST", "http://x", data=FIELDS, files=files(image(), image()))
    body = request.read()
    end = len(body) if is_complete else len(body) - 40
    return body[:end], {"Content-Type": request.headers["Content-Type"]}


@pytest.mark.usefixtures("nothing_left")
def test_a_form_without_its_end(client: httpx.Client) -> None:
    body, headers = _form(is_complete=False)
    assert_problem(client.post("/v1/concepts", content=body, headers=headers), 400, "cut off")


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("content_type", ["multipart/form-data", "application/json", "text/plain"])
def test_what_is_no_form(client: httpx.Client, content_type: str) -> None:
    body, _ = _form(is_complete=True)
    answer = client.post("/v1/concepts", content=body, headers={"Content-Type": content_type})
    assert_problem(answer, 400)


@pytest.mark.usefixtures("nothing_left")
def test_a_connection_that_ends_in_the_middle(server: Server, client: httpx.Client) -> None:
    body, headers = _form(is_complete=True)
    lines = [
        "POST /v1/concepts HTTP/1.1",
        "Host: x",
        f"Authorization: {client.headers['Authorization']}",
        f"Content-Type: {headers['Content-Type']}",
        f"Content-Length: {len(body)}",
    ]
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port or 80)) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body[:-100])
    assert client.get("/v1/concepts").json()["items"] == []


@pytest.mark.usefixtures("nothing_left")
def test_bodies_that_are_too_large(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"name": "'
        for _ in range(20):
            yield b"a" * 100_000

    assert_problem(client.post("/v1/lineages", content=chunks(), headers=JSON), 413)
    assert_problem(client.post("/v1/lineages", content=b"a" * (MIB + 1), headers=JSON), 413)
    assert_problem(client.post("/v1/concepts", data=FIELDS, files=files(*[bytes(15 * MIB)] * 5)), 413)


@pytest.mark.usefixtures("nothing_left")
def test_a_chunked_form_that_is_too_large(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(5):
            yield b'--b\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'
            for _ in range(15):
                yield bytes(MIB)
            yield b"\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert_problem(client.post("/v1/concepts", content=chunks(), headers=headers), 413)
