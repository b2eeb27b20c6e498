"""Concepts: from uploaded files to rows and objects, and away again."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import UUID

from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.erasures import teaches
from app.db.pages import Page, Window, fetch_page
from app.db.queries import concept_images, concepts_of
from app.db.tables import BaseModelRow, Concept, ConceptImage, StoredObject
from app.db.tombstones import tombstoned
from app.domain.concepts import ConceptKind
from app.domain.deletions import DeletedKind
from app.domain.errors import ConflictError, Fault, InvalidImageError, InvalidInputError, NotFoundError
from app.domain.quotas import Quota
from app.services.context import Services, Work, open_work
from app.services.deletions import note_deletion
from app.services.grouping import grouped
from app.services.image_lessons import insist_on_lessons, warnings_of
from app.services.images import ImageLimits, Picture, Upload, read_picture
from app.services.jobs import request_cancel
from app.services.objects import make_live, storing
from app.services.quotas import check_room, insist_on_room, room_left
from app.storage import describe_object


@dataclass(frozen=True)
class ConceptDetails:
    """A concept with its images, in order."""

    concept: Concept
    images: Sequence[tuple[ConceptImage, StoredObject]]


@dataclass(frozen=True)
class NewConcept:
    """What is asked for."""

    name: str
    kind: ConceptKind
    class_noun: str | None


@dataclass(frozen=True)
class StoredPicture:
    """A picture in S3, under a pending row, and what it looks like, without its bytes."""

    row: StoredObject
    looks: Picture


async def insist_on_room_for_one(services: Services, user_id: UUID) -> None:
    """Let pass only who may have one more image, before any is read.

    Raises:
        QuotaReachedError: the user has no room for one.
    """
    async with open_work(services, user_id) as work:
        await check_room(work, user_id, {Quota.IMAGES: 1, Quota.STORED_BYTES: 1})


@asynccontextmanager
async def stored_pictures(
    services: Services, user_id: UUID, new: NewConcept, uploads: Sequence[Upload]
) -> AsyncIterator[Sequence[StoredPicture]]:
    """Check and decode the files, and put their pictures into S3, one at a time: no more of them is ever in memory.

    When the block raises, they are taken away again.

    Raises:
        InvalidInputError: a field or a file is not acceptable.
        ConflictError: the user has a concept of that name.
        QuotaReachedError: the user has no room for the images.
        StorageError: S3 failed.
    """
    _check_class_noun(new)
    async with open_work(services, user_id) as work:
        await _insist_on_free_name(work.session, user_id, new.name)
        await check_room(work, user_id, {Quota.IMAGES: len(uploads)})
        bytes_left = await room_left(work, user_id, Quota.STORED_BYTES)
    async with storing(services) as objects:
        pictures: list[StoredPicture] = []
        refusals: list[InvalidImageError] = []
        for upload in uploads:
            try:
                picture = await _read(services, user_id, upload)
            except InvalidImageError as refusal:
                refusals.append(refusal)
                continue
            bytes_left.take(len(picture.png))
            row = describe_object(user_id, "images", picture.png, "image/png")
            if not refusals:
                await objects.put(row, picture.png)
            pictures.append(StoredPicture(row, replace(picture, png=b"")))
        _insist_on_none(refusals, len(uploads))
        insist_on_lessons([picture.looks for picture in pictures])
        yield pictures


def _insist_on_none(refusals: Sequence[InvalidImageError], count: int) -> None:
    """Of several bad pictures all are named.

    Raises:
        InvalidImageError: there is a bad one.
    """
    if not refusals:
        return
    more = f" {len(refusals)} of {count} images are not acceptable." if len(refusals) > 1 else ""
    raise InvalidImageError(refusals[0].detail + more, tuple(fault for refusal in refusals for fault in refusal.faults))


async def _sides(session: AsyncSession) -> dict[str, int]:
    """The pixels that each base model is taught at."""
    rows = await session.scalars(select(BaseModelRow).order_by(BaseModelRow.name))
    return {row.name: row.manifest.resolution for row in rows}


async def _read(services: Services, user_id: UUID, upload: Upload) -> Picture:
    settings = services.settings
    limits = ImageLimits(settings.max_image_pixels, settings.stored_image_side_pixels, settings.max_jpeg_pixels)
    async with services.gates.decoding.turn(user_id):
        return await to_thread.run_sync(read_picture, upload, limits)


async def create_concept(
    work: Work, user_id: UUID, new: NewConcept, pictures: Sequence[StoredPicture]
) -> ConceptDetails:
    """The concept of these pictures.

    Raises:
        ConflictError: the user has a concept of that name.
        QuotaReachedError: the user has no room for the images: another upload was faster.
        StorageError: a picture was collected meanwhile.
    """
    await insist_on_room(work, user_id, {Quota.IMAGES: len(pictures)})
    warnings = warnings_of([picture.looks for picture in pictures], await _sides(work.session))
    return await _insert(work.session, user_id, new, pictures, warnings)


def _check_class_noun(new: NewConcept) -> None:
    if new.kind is ConceptKind.OBJECT and new.class_noun is None:
        fault = Fault(field="class_noun", message="required for objects")
        raise InvalidInputError("An object needs a class noun, such as `dog`.", (fault,))
    if new.kind is ConceptKind.STYLE and new.class_noun is not None:
        raise InvalidInputError("A style has no class noun.", (Fault(field="class_noun", message="not for styles"),))


async def _insist_on_free_name(session: AsyncSession, user_id: UUID, name: str) -> None:
    if await session.scalar(concepts_of(user_id).where(Concept.name == name)) is not None:
        raise _taken(name)


def _taken(name: str) -> ConflictError:
    return ConflictError(f"You have a concept named {name} already.")


async def _insert(
    session: AsyncSession,
    user_id: UUID,
    new: NewConcept,
    pictures: Sequence[StoredPicture],
    warnings: tuple[Fault, ...],
) -> ConceptDetails:
    concept = Concept(user_id=user_id, name=new.name, kind=new.kind, class_noun=new.class_noun, warnings=warnings)
    session.add(concept)
    try:
        await session.flush()
    except IntegrityError as error:
        raise _taken(new.name) from error
    images = [
        ConceptImage(
            concept_id=concept.id,
            position=position,
            object_id=picture.row.id,
            width=picture.looks.width,
            height=picture.looks.height,
        )
        for position, picture in enumerate(pictures)
    ]
    session.add_all(images)
    rows = [picture.row for picture in pictures]
    await make_live(session, rows)
    return ConceptDetails(concept, list(zip(images, rows, strict=True)))


async def list_concepts(session: AsyncSession, user_id: UUID, window: Window) -> Page[ConceptDetails]:
    """The user's concepts, newest first."""
    page = await fetch_page(session, concepts_of(user_id), Concept, window)
    rows = await session.execute(concept_images([row[0].id for row in page.items]))
    images = grouped(rows.all(), lambda row: row[0].concept_id)
    return page.map(lambda row: ConceptDetails(row[0], images.get(row[0].id, [])))


async def get_concept(session: AsyncSession, user_id: UUID, concept_id: UUID) -> ConceptDetails:
    """One concept.

    Raises:
        NotFoundError: the user has no such concept.
    """
    concept = await session.scalar(concepts_of(user_id).where(Concept.id == concept_id))
    if concept is None:
        raise NotFoundError(f"There is no concept {concept_id}.")
    images = (await session.execute(concept_images([concept_id]))).all()
    return ConceptDetails(concept, [(image, row) for image, row in images])


async def get_concept_image(session: AsyncSession, user_id: UUID, concept_id: UUID, position: int) -> StoredObject:
    """The object that holds image `position`.

    Raises:
        NotFoundError: the user has no such concept, or it has fewer images.
    """
    details = await get_concept(session, user_id, concept_id)
    if position >= len(details.images):
        raise NotFoundError(f"The concept has {len(details.images)} images, counted from 0.")
    return details.images[position][1]


async def delete_concept(session: AsyncSession, user_id: UUID, concept_id: UUID) -> None:
    """Hide the concept, and cancel what trains it; versions that have learned it stay.

    Raises:
        NotFoundError: the user has no such concept.
    """
    deleted = await session.scalar(tombstoned(Concept, Concept.id == concept_id, Concept.user_id == user_id))
    if deleted is None:
        raise NotFoundError(f"There is no concept {concept_id}.")
    note_deletion(session, user_id, DeletedKind.CONCEPT, concept_id)
    await request_cancel(session, teaches(concept_id))
