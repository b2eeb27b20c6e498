"""POSTs: one answer per `Idempotency-Key`."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from app.api.dependencies import Caller, ServicesOfProcess
from app.db.tables import IdempotencyKey
from app.services.context import Services, Work, open_work
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
    """Runs the action of a POST in a transaction of its own, or gives the answer of its first run."""

    def __init__(self, what: str, user_id: UUID, services: Services, key: str | None) -> None:
        self._what = what
        self._user_id = user_id
        self._services = services
        self._key = key

    async def run(self, act: Callable[[Work], Awaitable[Answer]], fields: BaseModel, *files: str) -> Response:
        """The answer to these fields; `files` are the hashes of what was uploaded with them."""
        async with open_work(self._services, self._user_id) as work:
            answer = await self._answer(work, act, self._attempt(fields, files))
        return _response(answer)

    async def is_repeated(self) -> bool:
        """Whether the key was used before: then what it once asked for is not asked for again."""
        if self._key is None:
            return False
        async with open_work(self._services, self._user_id) as work:
            return await work.session.get(IdempotencyKey, (self._user_id, self._key)) is not None

    async def kept(self, fields: BaseModel, *files: str) -> Response | None:
        """The answer of an earlier sending, for who would do much before `run`."""
        if (attempt := self._attempt(fields, files)) is None:
            return None
        async with open_work(self._services, self._user_id) as work:
            answer = await attempt.begin(work.session)
        return None if answer is None else _response(answer)

    async def _answer(self, work: Work, act: Callable[[Work], Awaitable[Answer]], attempt: Attempt | None) -> Answer:
        if attempt is None:
            return await act(work)
        kept = await attempt.begin(work.session)
        if kept is not None:
            return kept
        answer = await act(work)
        attempt.keep(work.session, answer)
        return answer

    def _attempt(self, fields: BaseModel, files: tuple[str, ...]) -> Attempt | None:
        return None if self._key is None else Attempt(self._user_id, self._key, self._fingerprint(fields, files))

    def _fingerprint(self, fields: BaseModel, files: tuple[str, ...]) -> str:
        """Of the parsed fields, so that neither spacing nor order nor a boundary makes another request of it."""
        return hashlib.sha256("\n".join([self._what, fields.model_dump_json(), *files]).encode()).hexdigest()


async def get_once(
    request: Request, caller: Caller, services: ServicesOfProcess, key: IdempotencyKeyHeader = None
) -> Once:
    """The means to answer this POST once."""
    return Once(f"{request.method} {request.url.path}", caller.id, services, key)


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
