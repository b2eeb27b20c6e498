"""Multipart forms with files, parsed while they stream in: a file too many or too large stops the reading."""

import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from anyio import to_thread
from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.body import body_of
from app.api.faults import fault_of
from app.api.problems import MalformedBodyError
from app.domain.base import Value
from app.domain.errors import Fault, InvalidInputError
from app.services.images import Upload

V = TypeVar("V", bound=Value)

_EXTENDED_NAME = re.compile(rb";\s*filename\*\s*=\s*(?P<charset>[\w.:-]+)'[^']*'(?P<name>[^;\s]*)", re.IGNORECASE)
_PLAIN_NAME = re.compile(rb';\s*filename\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s]*)', re.IGNORECASE)
_MAX_FIELDS = 20
_MAX_FIELD_BYTES = 64 * 1024
_MAX_SHOWN_NAME = 100
_CHUNK_BYTES = 1024 * 1024
_MAX_TEXT_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class FileLimits:
    """What a form may carry: 1 to `max_files` files, all under the one name, and `max_bytes` as a whole."""

    name: str
    max_files: int
    max_file_bytes: int
    max_bytes: int
    text_files: frozenset[str] = frozenset()
    """Texts that may come as files as well."""

    def label(self, position: int, file_name: str) -> str:
        """How problems name a file."""
        return f"{self.name}[{position}]: {file_name}" if self.max_files > 1 else f"{self.name}: {file_name}"


@dataclass(frozen=True)
class FileForm:
    """A parsed form: its text fields, and its files in order."""

    texts: dict[str, str]
    uploads: tuple[Upload, ...]

    def read_as(self, schema: type[V]) -> V:
        """The text fields as a typed value.

        Raises:
            InvalidInputError: they are not valid.
        """
        try:
            return schema.model_validate(self.texts)
        except ValidationError as error:
            raise InvalidInputError("The form is not valid.", tuple(map(fault_of, error.errors()))) from error

    async def hashes(self) -> tuple[str, ...]:
        """The hash of each file as it was uploaded."""
        return tuple([await to_thread.run_sync(_sha256, upload) for upload in self.uploads])


class _Parser(MultiPartParser):
    """Starlette's parser, which also counts bytes per file and notices a missing end."""

    # Many forms may be open at once: their files lie on disk.
    spool_max_size = 16 * 1024
    file_limits: FileLimits
    is_complete = False

    def on_headers_finished(self) -> None:
        self._current_part.content_disposition = _with_plain_name(self._current_part.content_disposition or b"")
        super().on_headers_finished()
        if self._current_files > self.file_limits.max_files + len(self.file_limits.text_files):
            raise InvalidInputError(*_too_many(self.file_limits))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        super().on_part_data(data, start, end)
        file = self._current_part.file
        if file is not None:
            self._current_bytes += end - start
            if self._current_bytes > self.file_limits.max_file_bytes:
                raise InvalidInputError(*_too_large(file.filename, self.file_limits))

    def on_part_begin(self) -> None:
        super().on_part_begin()
        self._current_bytes = 0

    def on_end(self) -> None:
        self.is_complete = True


def _with_plain_name(disposition: bytes) -> bytes:
    """A part's header whose file's name, where it is given as `filename*` (RFC 5987), is given as all others are.

    The standard of forms (RFC 7578) forbids that form, and some clients use it for names beyond ASCII; their files
    would else be taken for texts.
    """
    found = _EXTENDED_NAME.search(disposition)
    if found is None:
        return disposition
    try:
        name = unquote_to_bytes(found["name"]).decode(found["charset"].decode())
    except (LookupError, UnicodeDecodeError) as error:
        raise MalformedBodyError("A file's name (filename*) cannot be decoded.") from error
    quoted = _shown(name).replace("\\", "\\\\").replace('"', '\\"')
    without = _PLAIN_NAME.sub(b"", _EXTENDED_NAME.sub(b"", disposition))
    return without + f'; filename="{quoted}"'.encode()


def _too_many(limits: FileLimits) -> tuple[str, tuple[Fault, ...]]:
    message = f"at most {limits.max_files}"
    return f"{limits.name}: {message} may be sent.", (Fault(field=limits.name, message=message),)


def _too_large(name: str | None, limits: FileLimits) -> tuple[str, tuple[Fault, ...]]:
    message = f"larger than {limits.max_file_bytes:,} bytes"
    return f"{_shown(name)}: {message}.", (Fault(field=f"{limits.name}: {_shown(name)}", message=message),)


def _shown(name: str | None) -> str:
    """A file's name as problems repeat it: on one line, and not at any length."""
    printable = "".join(letter for letter in name or "" if letter.isprintable())
    return printable if len(printable) <= _MAX_SHOWN_NAME else f"{printable[:_MAX_SHOWN_NAME]}…"


@asynccontextmanager
async def file_form(request: Request, limits: FileLimits) -> AsyncIterator[FileForm]:
    """The form of a request; its temporary files are gone when the block ends.

    Raises:
        MalformedBodyError: it is no multipart form, or it was cut off.
        InvalidInputError: it holds other things than texts and 1 to `max_files` files of the name that `limits` has.
    """
    body_of(request).allow(limits.max_bytes)
    form = await _parse(request.headers, request.stream(), limits)
    try:
        yield _sorted_out(form, limits)
    finally:
        await form.close()


async def _parse(headers: Headers, stream: AsyncGenerator[bytes, None], limits: FileLimits) -> FormData:
    if not headers.get("content-type", "").startswith("multipart/form-data"):
        raise MalformedBodyError("Send multipart/form-data.")
    max_files = limits.max_files + len(limits.text_files) + 1
    parser = _Parser(headers, stream, max_files=max_files, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES)
    parser.file_limits = limits
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedBodyError(error.message) from error
    if not parser.is_complete:
        await form.close()
        raise MalformedBodyError("The multipart body is cut off: its last boundary is missing.")
    return form


def _sorted_out(form: FormData, limits: FileLimits) -> FileForm:
    texts: dict[str, str] = {}
    uploads: list[Upload] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name == limits.name:
            shown = _shown(value.filename)
            uploads.append(Upload(limits.label(len(uploads), shown), shown, value.file))
        elif isinstance(value, UploadFile) and name in limits.text_files and name not in texts:
            texts[name] = _text(name, value)
        elif isinstance(value, UploadFile) or name == limits.name:
            raise InvalidInputError(*_misplaced(name, limits))
        elif name in texts:
            raise InvalidInputError("The form is not valid.", (Fault(field=name, message="given twice"),))
        else:
            texts[name] = value
    if len(uploads) > limits.max_files:
        raise InvalidInputError(*_too_many(limits))
    if not uploads:
        raise InvalidInputError(
            f"{limits.name}: at least one file is needed.",
            (Fault(field=limits.name, message="no file was sent in it"),),
        )
    return FileForm(texts, tuple(uploads))


def _misplaced(name: str, limits: FileLimits) -> tuple[str, tuple[Fault, ...]]:
    shown = _shown(name)
    if name == limits.name:
        return f"{shown}: send files in this field, not text.", (Fault(field=shown, message="must be a file"),)
    message = f"takes no file; send files in the field {limits.name}"
    return f"{shown}: {message}.", (Fault(field=shown, message=message),)


def _text(name: str, upload: UploadFile) -> str:
    try:
        return upload.file.read(_MAX_TEXT_FILE_BYTES + 1).decode()
    except UnicodeDecodeError as error:
        raise InvalidInputError("The form is not valid.", (Fault(field=name, message="not a text"),)) from error


def _sha256(upload: Upload) -> str:
    digest = hashlib.sha256()
    while chunk := upload.file.read(_CHUNK_BYTES):
        digest.update(chunk)
    upload.file.seek(0)
    return digest.hexdigest()
