"""The poll of a job, which clients send more often than anything else: who asks, and the job, in one statement.

The caller of an unchanged job is told so before anything is made of the row.
"""

import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import String, and_, bindparam, cast, inspect, join, literal_column, select, type_coerce
from sqlalchemy.dialects.postgresql import JSONB

from app.db.looks import Look
from app.db.queries import queue_place
from app.db.tables import ApiKey, Job, Lineage, User
from app.db.types import Json
from app.domain.errors import NotFoundError
from app.domain.jobs import JobKind, JobStatus
from app.domain.keys import hash_key
from app.services.access import is_use_untold, is_valid, note_use, unknown_key
from app.services.context import Services

# Of what a job's body looks like: to be raised with its schema, so that no client keeps an old one.
_SHAPE = 1

_COLUMNS = {attribute.key: attribute.columns[0] for attribute in inspect(Job).column_attrs}
_ADAPTERS = {key: column.type.adapter for key, column in _COLUMNS.items() if isinstance(column.type, Json)}
_VISIBLE = join(Job, Lineage, and_(Lineage.id == Job.lineage_id, Lineage.deleted_at.is_(None)))
_POLL: Look[*tuple[Any, ...]] = Look(
    select(
        User.id,
        ApiKey.id,
        is_use_untold(),
        # Postgres's own number of the transaction that wrote the row.
        cast(literal_column("jobs.xmin"), String),
        queue_place(),
        # What is JSON is parsed further only where somebody looks at it.
        *(type_coerce(column, JSONB) if isinstance(column.type, Json) else column for column in _COLUMNS.values()),
    )
    .join(ApiKey, ApiKey.user_id == User.id)
    .outerjoin(_VISIBLE, and_(Job.id == bindparam("job_id"), Job.user_id == User.id))
    .where(*is_valid())
)


@dataclass(frozen=True)
class Poll:
    """A job as its owner may see it; `tag` is another after each change of it."""

    user_id: UUID
    tag: str
    queue_position: int | None
    _values: dict[str, Any]

    @property
    def status(self) -> JobStatus:
        """Where the job stands."""
        status: JobStatus = self._values["status"]
        return status

    @property
    def kind(self) -> JobKind:
        """What the job is."""
        kind: JobKind = self._values["kind"]
        return kind

    def job(self) -> Job:
        """The row, which belongs to no session."""
        job = inspect(Job).class_manager.new_instance()
        job.__dict__.update(self._values)
        for key, adapter in _ADAPTERS.items():
            if (value := self._values[key]) is not None:
                job.__dict__[key] = adapter.validate_python(value)
        return job


async def poll_job(services: Services, key: str, job_id: UUID) -> Poll:
    """Let the caller in, and look at the job.

    Raises:
        NotAuthenticatedError: no such key, a revoked one, or one of a deleted user.
        RateLimitedError: the user asks too fast.
        NotFoundError: the user has no such job.
    """
    sha256 = hash_key(key)
    services.paces.insist_on_known(sha256)
    found = await services.looks.one(_POLL, sha256=sha256, job_id=job_id)
    if found is None:
        raise unknown_key()
    user_id, key_id, is_untold, written_by, position, *columns = found
    services.paces.charge(user_id, sha256, 1.0)
    if is_untold:
        await note_use(services, key_id)
    values = dict(zip(_COLUMNS, columns, strict=True))
    if values["id"] is None:
        raise NotFoundError(f"There is no job {job_id}.")
    tag = hashlib.sha256(f"{_SHAPE} {job_id} {written_by} {values['status']} {position}".encode()).hexdigest()
    return Poll(user_id, tag, position, values)
