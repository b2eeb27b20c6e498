"""POSTs: one answer per `Idempotency-Key`."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from app.api.dependencies import Caller, Transaction
from app.services.context import Work
from app.services.idempotency import Answer, Attempt

IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Sent again with the same fields, the request acts only once and gets the first answer again.",
    ),
]


class Once:
    """Runs the action of a POST, or gives the answer of its first run."""

    def __init__(self, what: str, user_id: UUID, work: Work, key: str | None) -> None:
        self._what = what
        self._user_id = user_id
        self._work = work
        self._key = key

    async def run(self, act: Callable[[Work], Awaitable[Answer]], fields: BaseModel, *files: str) -> Response:
        """The answer to these fields; `files` are the hashes of what was uploaded with them."""
        if self._key is None:
            return _response(await act(self._work))
        attempt = Attempt(self._user_id, self._key, self._fingerprint(fields, files))
        kept = await attempt.begin(self._work.session)
        if kept is not None:
            return _response(kept)
        answer = await act(self._work)
        attempt.keep(self._work.session, answer)
        return _response(answer)

    def _fingerprint(self, fields: BaseModel, files: tuple[str, ...]) -> str:
        """Of the parsed fields, so that neither spacing nor order nor a boundary makes another request of it."""
        return hashlib.sha256("\n".join([self._what, fields.model_dump_json(), *files]).encode()).hexdigest()


async def get_once(request: Request, caller: Caller, work: Transaction, key: IdempotencyKeyHeader = None) -> Once:
    """The means to answer this POST once."""
    return Once(f"{request.method} {request.url.path}", caller.id, work, key)


OnlyOnce = Annotated[Once, Depends(get_once)]


def created(body: BaseModel, location: str, *, is_secret: bool = False) -> Answer:
    """201, with the new resource."""
    return Answer(201, body.model_dump_json(), location, is_secret)


def accepted(body: BaseModel, location: str) -> Answer:
    """202, with the job that does it."""
    return Answer(202, body.model_dump_json(), location)


def done(body: BaseModel) -> Answer:
    """200, with what has changed."""
    return Answer(200, body.model_dump_json(), None)


def _response(answer: Answer) -> Response:
    headers = {} if answer.location is None else {"Location": answer.location}
    return Response(answer.body, answer.status_code, headers=headers, media_type="application/json")
