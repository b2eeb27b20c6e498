"""A POST sent twice with one `Idempotency-Key` acts once: the first answer is kept, and given again."""

import hashlib
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.tables import IdempotencyKey
from app.domain.errors import ConflictError, Fault, InvalidInputError


@dataclass(frozen=True)
class Answer:
    """An answer as it is kept. A secret one is given once, and never kept."""

    status_code: int
    body: str
    location: str | None = None
    is_secret: bool = False


@dataclass(frozen=True)
class Attempt:
    """One sending of a POST: whose, under which key, and the hash of what it asks."""

    user_id: UUID
    key: str
    request_sha256: str

    def _lock_number(self) -> int:
        digest = hashlib.sha256(f"{self.user_id} {self.key}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    async def begin(self, session: AsyncSession) -> Answer | None:
        """The answer of an earlier sending; None when this is the first, which then holds the key till its commit.

        Raises:
            ConflictError: an earlier sending is still running, or its answer held a secret.
            InvalidInputError: the key was used for something else.
        """
        if not await session.scalar(select(func.pg_try_advisory_xact_lock(self._lock_number()))):
            raise ConflictError("A request with this Idempotency-Key is still running.")
        kept = await session.get(IdempotencyKey, (self.user_id, self.key))
        if kept is None:
            return None
        if kept.request_sha256 != self.request_sha256:
            fault = Fault(field="Idempotency-Key", message="used before, with another request")
            raise InvalidInputError("This Idempotency-Key belongs to another request.", (fault,))
        if not kept.body:
            raise ConflictError("This was done already, and its answer held a secret that is shown only once.")
        return Answer(kept.status_code, kept.body, kept.location)

    def keep(self, session: AsyncSession, answer: Answer) -> None:
        """Keep the answer, within the transaction that did what it tells."""
        session.add(
            IdempotencyKey(
                user_id=self.user_id,
                key=self.key,
                request_sha256=self.request_sha256,
                status_code=answer.status_code,
                body="" if answer.is_secret else answer.body,
                location=answer.location,
            )
        )
