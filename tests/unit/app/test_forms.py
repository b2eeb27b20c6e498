"""Forms as phones, scripts and old clients send them."""

import asyncio

import pytest
from pydantic import ValidationError
from starlette.requests import Request

from app.api.body import Body
from app.api.faults import fault_of
from app.api.uploads import FileForm, FileLimits, file_form
from app.domain.base import Value
from app.domain.base_models import BaseModelName
from app.domain.concepts import MAX_IMAGES_PER_CONCEPT, ClassNoun, ConceptName
from app.domain.errors import InvalidInputError, PalimpsestError
from app.domain.patterns import IN_WORDS
from app.domain.training import ModuleNames, StepRules
from app.settings import Settings

LIMITS = FileLimits("images", 3, 1000, 100_000)
BOUNDARY = b"edge"


def read(*parts: tuple[bytes, bytes]) -> FileForm:
    """The form of parts, each its Content-Disposition and its content."""
    body = b"".join(
        b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + content + b"\r\n"
        for head, content in parts
    )
    body += b"--" + BOUNDARY + b"--\r\n"

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"multipart/form-data; boundary=" + BOUNDARY)]
    scope = {"type": "http", "method": "POST", "headers": headers}
    body_received = Body(scope, receive, 1)
    request = Request(scope, body_received.receive)
    request.state.body = body_received

    async def parsed() -> FileForm:
        async with file_form(request, LIMITS) as form:
            return form

    return asyncio.run(parsed())


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b'name="images"; filename="a.png"', "a.png"),
        (b"name=\"images\"; filename*=UTF-8''na%C3%AFve%20%E2%82%AC.png", "naïve €.png"),
        (b"name=\"images\"; filename*=utf-8'en'a.png", "a.png"),
        (b"name=\"images\"; filename*=iso-8859-1''caf%E9.png", "café.png"),
        (b'name="images"; filename="a.png"; filename*=UTF-8\'\'%C3%A1.png', "á.png"),
        (b'name="images"; FileName*=UTF-8\'\'%C3%A1.png; filename="a.png"', "á.png"),
        (b"name=\"images\"; filename*=UTF-8''a%22b%5C.png", 'a"b\\.png'),
        (b"name=\"images\"; filename*=UTF-8''a%0D%0AX-Evil%3A%201", "aX-Evil: 1"),
    ],
)
def test_a_files_name_may_be_extended(head: bytes, name: str) -> None:
    form = read((head, b"data"), (b'name="name"', b"rex"))
    assert [upload.file_name for upload in form.uploads] == [name]
    assert form.texts == {"name": "rex"}


@pytest.mark.parametrize("head", [b"filename*=klingon''a.png", b"filename*=UTF-8''%FF%FE"])
def test_a_name_that_cannot_be_decoded_is_refused(head: bytes) -> None:
    with pytest.raises(PalimpsestError, match="cannot be decoded"):
        read((b'name="images"; ' + head, b"data"))


@pytest.mark.parametrize("field", ["image", "images[]", "file", "name"])
def test_a_file_in_another_field_is_told_which_one_is_for_files(field: str) -> None:
    with pytest.raises(InvalidInputError, match="send files in the field images") as caught:
        read((f'name="{field}"; filename="a.png"'.encode(), b"data"))
    assert caught.value.faults[0].field == field


def test_no_file_at_all_is_told_so_too() -> None:
    with pytest.raises(InvalidInputError, match="images: at least one file is needed"):
        read((b'name="name"', b"rex"))


def test_the_pictures_that_are_allowed_fit_into_the_body_that_is() -> None:
    settings = Settings()
    assert settings.max_body_bytes >= MAX_IMAGES_PER_CONCEPT * (settings.max_image_bytes + 1000)


class Named(Value):
    """One field of each pattern."""

    name: ConceptName = "a"
    noun: ClassNoun = "a"
    base: BaseModelName = "a"
    rules: StepRules = "1:2,3"
    modules: ModuleNames = ("a",)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "My Dog", "no capitals"),
        ("noun", "a <dog>", "no <"),
        ("base", "my model", "letters, digits, dots"),
        ("rules", "10:1", "1:100,0.1:200,0.01"),
        ("modules", ("to q",), "to_out.0"),
    ],
)
def test_patterns_are_told_in_words(field: str, value: object, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Named.model_validate({field: value})
    message = fault_of(caught.value.errors()[0]).message
    assert said in message
    assert not any(pattern in message for pattern in IN_WORDS)
