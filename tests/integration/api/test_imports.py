"""Importing over HTTP: what the front end can tell by itself, it tells at once."""

import json
import struct

import httpx
import numpy as np
import pytest
from safetensors.numpy import save
from sqlalchemy import text

from tests.integration.api.inputs import new_concept, new_lineage
from tests.integration.api.state import Server
from tests.integration.api.worker_side import random_factors, teach

GOOD = save(random_factors(1, 4))
TAUGHT = {"name": "rex", "kind": "object", "class_noun": "dog", "token": "sks"}


def send(client: httpx.Client, lineage: str, data: bytes, query: str = "", **form: str) -> httpx.Response:
    files = {"file": ("old.safetensors", data, "application/octet-stream")}
    return client.post(f"/v1/lineages/{lineage}/import{query}", data=form, files=files)


def header(entries: dict[str, object], data: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


def factor(name: str, *shape: int, dtype: str = "F32", offsets: tuple[int, int] = (0, 32)) -> dict[str, object]:
    return {name: {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


A, B = "unet.x.to_q.lora_A.weight", "unet.x.to_q.lora_B.weight"

NO_LORA = {
    "a text": (b"just a text, whatever its name says", "file"),
    "nothing": (b"", "file"),
    "a pickle": (b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.", "file"),
    "a header that is longer than the file": (struct.pack("<Q", 2**62) + b"{}", "file"),
    "a header nested too deep": (struct.pack("<Q", 200_000) + b"[" * 200_000, "file"),
    "names used twice": (struct.pack("<Q", 14) + b'{"a":1,"a":22}', "file"),
    "more data than described": (header(factor(A, 2, 4), bytes(40)), "file"),
    "less data than described": (header(factor(A, 2, 4), bytes(8)), "file"),
    "overlapping tensors": (header(factor(A, 2, 4) | factor(B, 4, 2), bytes(32)), "file"),
    "a shape beyond its bytes": (header(factor(A, 2**40, 2**40), bytes(32)), A),
    "a dtype that no factor has": (header(factor(A, 4, 8, dtype="I8"), bytes(32)), A),
    "a name that Postgres cannot hold": (header(factor("unet.\0.lora_A.weight", 2, 4), bytes(32)), "file"),
    "a name that no answer can hold": (header(factor("\ud800", 2, 4), bytes(32)), "file"),
    "a name that is too long": (header(factor("unet." + "x." * 300, 2, 4), bytes(32)), "file"),
    "an alpha beyond all numbers": (
        header(
            factor(A, 2, 4) | {"__metadata__": {"lora_adapter_metadata": f'{{"unet.lora_alpha": {10**400}}}'}},
            bytes(32),
        ),
        "lora_adapter_metadata",
    ),
    "no factors at all": (save({"x": np.zeros(3, np.float32)}), "x"),
    "a factor without its pair": (header(factor(A, 2, 4), bytes(32)), A),
    "ranks that differ": (save({A: np.zeros((2, 4), np.float32), B: np.zeros((4, 3), np.float32)}), A),
    "another method": (save({"unet.x.oft_blocks": np.zeros(3, np.float32)}), "unet.x.oft_blocks"),
    "half of a LoHa": (save({"unet.x.hada_w1_a": np.zeros((3, 2), np.float32)}), "unet.x.hada_w1_a"),
    "a text encoder's": (save({"lora_te_x.lora_down.weight": np.zeros((2, 4), np.float32)}), "text_encoder"),
}


@pytest.mark.parametrize("case", NO_LORA)
def test_a_file_that_is_no_lora_is_refused_at_once(server: Server, client: httpx.Client, case: str) -> None:
    data, field = NO_LORA[case]
    lineage = new_lineage(client)
    before = server.contents()
    answer = send(client, lineage, data)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:palimpsest:problem:invalid-adapter")
    assert field in [fault["field"] for fault in answer.json()["errors"]]
    assert server.contents() == before


@pytest.mark.parametrize(
    "form", [{"name": "rex"}, {**TAUGHT, "token": "a <b>"}, {**TAUGHT, "kind": "style"}, {**TAUGHT, "rank": "3"}]
)
def test_a_form_that_is_not_valid(client: httpx.Client, form: dict[str, str]) -> None:
    answer = send(client, new_lineage(client), GOOD, **form)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:palimpsest:problem:invalid-input")


def test_an_import_is_a_job_and_is_queued_once(client: httpx.Client) -> None:
    lineage = new_lineage(client)
    client.headers["Idempotency-Key"] = "once"
    answers = [send(client, lineage, GOOD, **TAUGHT) for _ in range(2)]
    del client.headers["Idempotency-Key"]
    assert [answer.status_code for answer in answers] == [202, 202]
    job = answers[0].json()
    assert answers[1].json() == job
    assert (job["kind"], job["status"], answers[0].headers["Location"]) == ("import", "queued", f"/v1/jobs/{job['id']}")
    # Its name is taken, and what else it is asked for goes on top of it.
    assert send(client, lineage, GOOD, **TAUGHT).status_code == 409
    listed = client.get(f"/v1/jobs?kind=import&lineage_id={lineage}").json()["items"]
    assert [entry["id"] for entry in listed] == [job["id"]]
    # What is queued to be learned on top of it may not have its name.
    taken = client.post(f"/v1/lineages/{lineage}/versions", json={"concept_id": new_concept(client, "rex")})
    assert taken.status_code == 409
    assert client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 200
    assert send(client, lineage, GOOD).status_code == 202


def test_an_import_goes_on_top_of_what_a_lineage_of_ones_own_has_learned(server: Server, client: httpx.Client) -> None:
    lineage = new_lineage(client)
    body = {"concept_id": new_concept(client, "max")}
    teach(server, client.post(f"/v1/lineages/{lineage}/versions", json=body).json(), seed=1)
    token = client.get(f"/v1/lineages/{lineage}/versions/1").json()["concept"]["token"]
    assert send(client, lineage, GOOD, **{**TAUGHT, "name": "max"}).status_code == 409
    answer = send(client, lineage, GOOD, **{**TAUGHT, "token": f"a {token} thing"})
    assert (answer.status_code, token in answer.json()["detail"]) == (409, True)
    assert send(client, lineage, GOOD, **TAUGHT).status_code == 202
    with server.client(server.admin_key) as other:
        assert send(other, lineage, GOOD).status_code == 404


PEFT = save({f"base_model.model.{name.removeprefix('unet.')}": factor for name, factor in random_factors(1, 4).items()})
CONFIG = json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["to_q"]})


def test_a_scale_that_nothing_tells_has_to_be_told(client: httpx.Client) -> None:
    lineage = new_lineage(client)
    answer = send(client, lineage, PEFT)
    assert answer.status_code == 422
    assert [fault["message"][:24] for fault in answer.json()["errors"]] == ["nothing tells its scale:"]
    for form in ({"alpha": "8"}, {"scale": "0.5"}, {"adapter_config": CONFIG}):
        job = send(client, lineage, PEFT, **form)
        assert job.status_code == 202, job.text
        assert client.post(f"/v1/jobs/{job.json()['id']}/cancel").status_code == 200
    files = {"file": ("a.safetensors", PEFT), "adapter_config": ("adapter_config.json", CONFIG.encode())}
    assert client.post(f"/v1/lineages/{lineage}/import", files=files).status_code == 202


@pytest.mark.parametrize(
    "form",
    [
        {"alpha": "8", "scale": "1"},
        {"alpha": "0"},
        {"alpha": "1e400"},
        {"scale": "nan"},
        {"strength": "0"},
        {"max_rank": "0"},
        {"max_rank": "5000"},
        {"adapter_config": "{"},
        {"adapter_config": json.dumps({"r": 4, "lora_alpha": 4, "init_lora_weights": "pissa"})},
        {"adapter_config": json.dumps({"lora_alpha": 4, "alpha_pattern": {"(?=x)": 3}})},
        {"adapter_config": json.dumps({"lora_alpha": 4, "r": 5})},
    ],
)
def test_what_an_import_cannot_be_told(client: httpx.Client, form: dict[str, str]) -> None:
    answer = send(client, new_lineage(client), PEFT, **form)
    assert answer.status_code == 422
    assert answer.json()["errors"]


def test_a_rare_token_among_the_trigger_words_is_taken(server: Server, client: httpx.Client) -> None:
    lineage = new_lineage(client)
    assert send(client, lineage, GOOD, **{**TAUGHT, "token": "photo of TOK0, tok1"}).status_code == 202
    body = {"concept_id": new_concept(client, "max")}
    job = client.post(f"/v1/lineages/{lineage}/versions", json=body).json()
    query = text("SELECT params -> 'taught' ->> 'token' FROM jobs WHERE id = :id")
    with server.engine.connect() as connection:
        assert connection.execute(query, {"id": job["id"]}).scalar_one() == "tok2"


def test_an_adapter_may_be_larger_than_images_may_be(server: Server, client: httpx.Client) -> None:
    """It is read to its end, and only then found to be none."""
    answer = send(client, new_lineage(client), bytes(server.settings.max_image_bytes + 1))
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("The file cannot be imported")
