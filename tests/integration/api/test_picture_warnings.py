"""Pictures that teach little come with warnings in the body; of several bad files all are named."""

import io

import httpx
from PIL import Image, ImageDraw

from tests.integration.api.inputs import files, new_lineage


def png(width: int, height: int, colour: str = "teal") -> bytes:
    image = Image.new("RGB", (width, height), colour)
    ImageDraw.Draw(image).ellipse((2, 2, width // 2, height // 2), fill="orange")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def upload(client: httpx.Client, name: str, *contents: bytes) -> httpx.Response:
    return client.post("/v1/concepts", data={"name": name, "kind": "style"}, files=files(*contents))


def test_warnings_are_in_the_body_and_stay(client: httpx.Client) -> None:
    answer = upload(client, "doubtful", png(64, 64), png(64, 64), png(300, 64, "navy"), png(20, 20, "white"))
    assert answer.status_code == 201
    body = answer.json()
    assert [warning["field"] for warning in body["warnings"]] == ["images[1]", "images[2]", "images[3]"]
    assert client.get(f"/v1/concepts/{body['id']}").json()["warnings"] == body["warnings"]
    assert upload(client, "fine", png(64, 64)).json()["warnings"] == []


def test_all_bad_pictures_are_named(client: httpx.Client) -> None:
    answer = upload(client, "bad", b"a text", png(64, 64), png(64, 64)[:80], png(4, 4))
    assert answer.status_code == 422
    assert [error["field"].partition(":")[0] for error in answer.json()["errors"]] == [
        "images[0]",
        "images[2]",
        "images[3]",
    ]
    strip = upload(client, "strip", png(64, 64), png(3000, 30))
    assert [error["field"] for error in strip.json()["errors"]] == ["images[1]"]


def test_what_becomes_of_attention_weights_is_said(client: httpx.Client) -> None:
    lineage = new_lineage(client)

    def warned(prompt: str) -> list[str]:
        asked = {"lineage_id": lineage, "prompt": prompt, "negative_prompt": "ugly"}
        generation = client.post("/v1/generations", json=asked).json()["result"]["generation_id"]
        warnings = client.get(f"/v1/generations/{generation}").json()["warnings"]
        return [warning["field"] for warning in warnings]

    for weighted in ("a (cat:1.4)", "a ((cat))", "a [cat:dog:0.5]", "(a cat: -.5)"):
        assert warned(weighted) == ["prompt"]
    for plain in ("a cat", "a cat (sitting)", "two cats: one red, one blue", "at 10:30 (noon)"):
        assert warned(plain) == []
