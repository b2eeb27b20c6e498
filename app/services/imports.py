"""Adapters trained elsewhere, as version 1 of a lineage: here the file's header is checked, in the worker its layers.

The front end has no base model loaded, so whether names and shapes are the base's only the job can tell.
"""

from dataclasses import dataclass
from uuid import UUID

from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.adapter_files.header import read_header
from app.adapter_files.names import read_lora
from app.db.jobs import new_job
from app.db.queries import unfinished_publishing
from app.db.tables import Lineage, Version
from app.domain.concepts import TaughtConcept
from app.domain.errors import ConflictError
from app.domain.jobs import ImportParams
from app.domain.quotas import Quota
from app.services.context import Work
from app.services.images import Upload
from app.services.jobs import PlacedJob
from app.services.lineages import get_lineage, lock_lineage
from app.services.objects import make_live, stored
from app.services.quotas import check_room
from app.services.submission import submit_job
from app.storage import describe_object


@dataclass(frozen=True)
class NewImport:
    """What is asked for: a file, and by which name prompts are to call what it has learned, if by any."""

    upload: Upload
    taught: TaughtConcept | None
    ignore_text_encoder: bool


async def submit_import(work: Work, user_id: UUID, lineage_id: UUID, new: NewImport) -> PlacedJob:
    """Store the file, and queue the job that makes version 1 of it.

    Raises:
        InvalidAdapterError: the file is no LoRA of a format that is understood.
        NotFoundError: the user has no such lineage.
        ConflictError: the lineage has versions, or is about to.
        QuotaReachedError: the user has no room for the file, or too many jobs.
        StorageError: S3 failed.
    """
    await _insist_on_empty(work.session, (await get_lineage(work.session, user_id, lineage_id))[0])
    await to_thread.run_sync(_check, new)
    row = await to_thread.run_sync(
        describe_object, user_id, "imports", new.upload.file, "application/octet-stream"
    )  # fmt: skip
    await check_room(work, user_id, {Quota.STORED_BYTES: row.size_bytes})
    params = ImportParams(
        file_name=new.upload.file_name[:200],
        file_sha256=row.sha256,
        ignore_text_encoder=new.ignore_text_encoder,
        taught=new.taught,
    )
    async with stored(work.services, [row], [new.upload.file]):
        # Again, and exactly; only now, as nobody else of the user's goes on meanwhile.
        lineage = (await lock_lineage(work.session, user_id, lineage_id))[0]
        await _insist_on_empty(work.session, lineage)
        await make_live(work.session, [row])
        return await submit_job(work, new_job(lineage, params, input_object_id=row.id, total_steps=1))


async def _insist_on_empty(session: AsyncSession, lineage: Lineage) -> None:
    head = await session.get_one(Version, lineage.head_version_id)
    own = await session.scalar(select(Version.id).where(Version.lineage_id == lineage.id, Version.number > 0).limit(1))
    pending = (await session.scalars(unfinished_publishing(lineage.id))).first()
    if head.number > 0 or own is not None or pending is not None:
        raise ConflictError("An adapter can be imported into an empty lineage only, as its version 1.")


def _check(new: NewImport) -> None:
    file = new.upload.file
    size_bytes = file.seek(0, 2)
    file.seek(0)
    read_lora(read_header(file, size_bytes), ignore_text_encoder=new.ignore_text_encoder)
