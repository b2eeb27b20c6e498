"""Adapters trained elsewhere, as versions of a lineage: here the file's header is checked, in the worker its layers.

The front end has no base model loaded. So only the job can tell whether the base has these names and shapes.
"""

from dataclasses import dataclass
from uuid import UUID

from anyio import to_thread

from app.adapter_files.card import Card, read_card
from app.adapter_files.header import read_header
from app.adapter_files.reading import read_adapter
from app.db.jobs import new_job
from app.domain.adapters import ImportOptions
from app.domain.concepts import TaughtConcept
from app.domain.jobs import ImportParams
from app.domain.quotas import Quota
from app.services.context import Work
from app.services.images import Upload
from app.services.jobs import PlacedJob
from app.services.lineages import get_lineage, lock_lineage
from app.services.objects import make_live, stored
from app.services.past import Past
from app.services.quotas import check_room
from app.services.submission import submit_job
from app.storage import describe_object


@dataclass(frozen=True)
class NewImport:
    """What is asked for: a file, how it is to be read, and how prompts are to name what it has learned."""

    upload: Upload
    taught: TaughtConcept | None
    options: ImportOptions


async def submit_import(work: Work, user_id: UUID, lineage_id: UUID, new: NewImport) -> PlacedJob:
    """Store the file, and queue the job that makes the lineage's next version of it.

    Raises:
        InvalidAdapterError: the file is no adapter that is understood.
        NotFoundError: the user has no such lineage.
        ConflictError: what the file has learned could not be told apart from what the lineage has learned.
        QuotaReachedError: the user has no room for the file, or too many jobs.
        StorageError: S3 failed.
    """
    await get_lineage(work.session, user_id, lineage_id)
    card = await to_thread.run_sync(_check, new)
    row = await to_thread.run_sync(
        describe_object, user_id, "imports", new.upload.file, "application/octet-stream"
    )  # fmt: skip
    await check_room(work, user_id, {Quota.STORED_BYTES: row.size_bytes})
    params = ImportParams(
        file_name=new.upload.file_name[:200],
        file_sha256=row.sha256,
        options=new.options,
        taught=new.taught,
        concepts=() if card is None else card.taught,
        origin=None if card is None else card.origin,
    )
    async with stored(work.services, [row], [new.upload.file]):
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
