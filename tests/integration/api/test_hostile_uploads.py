"""Every hostile upload is refused with one clear problem document, or stored clean."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import httpx
import pytest
from PIL import Image

from tests.hostile_uploads import SECRET, Hostile, corpus
from tests.integration.api.state import Server

CORPUS = corpus()


@pytest.fixture(scope="module")
def uploader(server: Server) -> Iterator[httpx.Client]:
    """One client for all: each case has a name of its own."""
    with server.client(server.admin_key) as client:
        yield client


@pytest.fixture
def upload(server: Server, uploader: httpx.Client) -> Callable[[Hostile], httpx.Response]:
    def send(case: Hostile) -> httpx.Response:
        fields = {"name": server.unique("hostile"), "kind": "style"}
        parts = [("images", (case.filename, case.data, "image/png"))]
        return uploader.post("/v1/concepts", data=fields, files=parts)

    return send


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len({case.name for case in CORPUS}) == len(CORPUS) >= 60


@pytest.mark.parametrize("case", [case for case in CORPUS if case.size is None], ids=lambda case: case.name)
def test_what_is_refused(server: Server, upload: Callable[[Hostile], httpx.Response], case: Hostile) -> None:
    before = server.contents()
    answer = upload(case)
    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:palimpsest:problem:invalid-image"
    assert case.reason in problem["detail"]
    assert [fault["field"].split(":")[0] for fault in problem["errors"]] == ["images[0]"]
    assert len(problem["detail"]) < 300
    assert problem["detail"].isprintable()
    assert server.contents() == before


@pytest.mark.parametrize("case", [case for case in CORPUS if case.size is not None], ids=lambda case: case.name)
def test_what_is_made_clean(uploader: httpx.Client, upload: Callable[[Hostile], httpx.Response], case: Hostile) -> None:
    answer = upload(case)
    assert answer.status_code == 201, answer.text
    stored = uploader.get(answer.json()["images"][0]["url"]).content
    assert SECRET.encode() not in stored
    # Nothing but pixels, and nothing behind them.
    assert set(chunk_kinds(stored)) == {b"IHDR", b"IDAT", b"IEND"}
    image = Image.open(io.BytesIO(stored))
    image.load()
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", case.size)


def chunk_kinds(png: bytes) -> Iterator[bytes]:
    """The kinds of a PNG's chunks, which fill the file to its end."""
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + data),)
        yield kind
        at += 12 + length
    assert at == len(png)
