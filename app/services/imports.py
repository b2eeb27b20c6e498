"""Adapters trained elsewhere, as versions of a lineage: here the file's header is checked, in the worker its layers.

The front end has no base model loaded. So only the job can tell whether the base has these names and shapes.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from anyio import to_thread

from app.adapter_files.card import Card, read_card
from app.adapter_files.header import read_header
from app.adapter_files.reading import read_adapter
from app.db.jobs import new_job
from app.db.tables import StoredObject
from app.domain.adapters import ImportOptions
from app.domain.concepts import TaughtConcept
from app.domain.jobs import ImportParams
from app.domain.quotas import Quota
from app.services.context import Services, Work, open_work
from app.services.images import Upload
from app.services.jobs import PlacedJob
from app.services.lineages import get_lineage, lock_lineage
from app.services.objects import make_live, storing
from app.services.past import Past
from app.services.quotas import check_room
from app.services.submission import ONE_JOB, submit_job
from app.storage import describe_object

# What a form may have beside its file.
_FORM_BYTES = 64 * 1024


@dataclass(frozen=True)
class NewImport:
    """What is asked for: a file, how it is to be read, and how prompts are to name what it has learned."""

    upload: Upload
    taught: TaughtConcept | None
    options: ImportOptions


async def insist_on_room_for_one(services: Services, user_id: UUID, lineage_id: UUID, size_bytes: int) -> None:
    """Let pass only who may import a file of that size into that lineage, before any of it is read.

    Raises:
        NotFoundError: the user has no such lineage.
        ConflictError: what the file has learned could not be told apart from what the lineage has learned.
        QuotaReachedError: the user has no room for the file, or too many jobs.
    """
    async with open_work(services, user_id) as work:
        await get_lineage(work.session, user_id, lineage_id)
        await check_room(work, user_id, {**ONE_JOB, Quota.STORED_BYTES: max(size_bytes - _FORM_BYTES, 1)})


@dataclass(frozen=True)
class StoredFile:
    """A file in S3, under a pending row, and what a file of ours says of itself."""

    row: StoredObject
    card: Card | None


@asynccontextmanager
async def stored_file(services: Services, user_id: UUID, new: NewImport) -> AsyncIterator[StoredFile]:
    """Put the file into S3, for the block to name; when it raises, the file is taken away again.

    Raises:
        InvalidAdapterError: the file is no adapter that is understood.
        QuotaReachedError: the user has no room for it.
        StorageError: S3 failed.
    """
    card = await to_thread.run_sync(_check, new)
    row = await to_thread.run_sync(describe_object, user_id, "imports", new.upload.file, "application/octet-stream")
    async with open_work(services, user_id) as work:
        await check_room(work, user_id, {Quota.STORED_BYTES: row.size_bytes})
    async with storing(services) as objects:
        await objects.put(row, new.upload.file)
        yield StoredFile(row, card)


async def submit_import(work: Work, user_id: UUID, lineage_id: UUID, new: NewImport, stored: StoredFile) -> PlacedJob:
    """Queue the job that makes the lineage's next version of the stored file.

    Raises:
        NotFoundError: the user has no such lineage.
        ConflictError: what the file has learned could not be told apart from what the lineage has learned.
        QuotaReachedError: the user has too many jobs.
        StorageError: the file was collected meanwhile.
    """
    row, card = stored.row, stored.card
    params = ImportParams(
        file_name=new.upload.file_name[:200],
        file_sha256=row.sha256,
        options=new.options,
        taught=new.taught,
        concepts=() if card is None else card.taught,
        origin=None if card is None else card.origin,
    )
    lineage = (await lock_lineage(work.session, user_id, lineage_id))[0]
    assert lineage.head_version_id is not None
    past = await Past.of(work.session, lineage, lineage.head_version_id)
    past.insist_on_apart(params.every_concept())
    await make_live(work.session, [row])
    return await submit_job(work, new_job(lineage, params, input_object_id=row.id, total_steps=1))


def _check(new: NewImport) -> Card | None:
    """Read the header; the answer is what a file of ours says of itself."""
    file = new.upload.file
    size_bytes = file.seek(0, 2)
    file.seek(0)
    header = read_header(file, size_bytes)
    read_adapter(header, new.options)
    return read_card(header.metadata)
