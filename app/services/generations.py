"""Generations: everything that the pictures depend on is pinned at submission."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.db.histories import taught_in
from app.db.jobs import new_job
from app.db.locks import lock_user
from app.db.pages import Page, Window, fetch_page
from app.db.queries import ancestry, generation_images, generations_of
from app.db.references import works_on
from app.db.tables import Generation, GenerationImage, Job, Lineage, StoredObject
from app.db.tombstones import tombstoned
from app.domain.base_models import BaseModelManifest
from app.domain.concepts import TaughtConcept, resolve_prompt
from app.domain.deletions import DeletedKind
from app.domain.effects import NO_GUIDANCE, faults_of_drawing, insist_on_effect
from app.domain.errors import Fault, InvalidInputError, NotFoundError, UnknownConceptError
from app.domain.jobs import GenerateParams, GenerateResult
from app.domain.prompt_notes import notes_on
from app.domain.seeds import MAX_SEED
from app.services.context import Work
from app.services.deletions import note_deletion
from app.services.grouping import grouped
from app.services.jobs import PlacedJob, request_cancel
from app.services.lineages import get_lineage, lock_lineage
from app.services.submission import submit_job
from app.services.taught_bases import insist_on_base
from app.services.versions import named_version


@dataclass(frozen=True)
class NewGeneration:
    """What is asked for; None takes the head, a random seed, the base model's defaults."""

    lineage_id: UUID
    version: int | None
    prompt: str
    negative_prompt: str | None
    num_images: int
    seed: int | None
    steps: int | None
    guidance_scale: float | None
    exact: bool
    width: int | None
    height: int | None


@dataclass(frozen=True)
class GenerationDetails:
    """A generation, the number of its version, its job, and the pictures there are."""

    generation: Generation
    version: int
    job: Job
    images: Sequence[tuple[GenerationImage, StoredObject]]


async def submit_generation(work: Work, user_id: UUID, new: NewGeneration) -> PlacedJob:
    """Queue a generate job.

    Raises:
        NotFoundError: the user has no such lineage.
        InvalidInputError: it has no such version, its base draws no pictures of that size, or an option would change
            nothing.
        UnknownConceptError: a prompt names a concept that the version has not learned.
        BaseChangedError: the base has other weights than the version was taught on.
    """
    session = work.session
    await lock_user(session, user_id)
    lineage, head = (await get_lineage(session, user_id, new.lineage_id))[:2]
    version = (await named_version(session, lineage.id, head if new.version is None else new.version, "version"))[0]
    line = await ancestry(session, version.id)
    taught = taught_in(line)
    manifest = (await insist_on_base(session, lineage, line)).manifest
    default_scale = max(manifest.default_guidance_scale, NO_GUIDANCE)
    scale = default_scale if new.guidance_scale is None else new.guidance_scale
    insist_on_effect(faults_of_drawing(scale, new.negative_prompt, new.seed, new.num_images))
    width, height = _size(lineage, manifest, new)
    generation = Generation(
        user_id=user_id,
        lineage_id=lineage.id,
        version_id=version.id,
        prompt=new.prompt,
        resolved_prompt=resolve_prompt(new.prompt, taught),
        negative_prompt=None if new.negative_prompt is None else _resolve_negative(new.negative_prompt, taught),
        num_images=new.num_images,
        seed=secrets.randbelow(MAX_SEED + 1 - new.num_images) if new.seed is None else new.seed,
        steps=manifest.default_steps if new.steps is None else new.steps,
        guidance_scale=scale,
        exact=new.exact,
        warnings=notes_on("prompt", new.prompt) + notes_on("negative_prompt", new.negative_prompt),
        width=width,
        height=height,
    )
    session.add(generation)
    await session.flush()
    return await _queue(work, lineage, generation)


def _size(lineage: Lineage, manifest: BaseModelManifest, new: NewGeneration) -> tuple[int, int]:
    width, height = (manifest.resolution if side is None else side for side in (new.width, new.height))
    if faults := manifest.size_faults(width, height):
        raise InvalidInputError(f"{lineage.base_model} does not draw pictures of {width} x {height}.", faults)
    return width, height


def _resolve_negative(prompt: str, taught: tuple[TaughtConcept, ...]) -> str:
    try:
        return resolve_prompt(prompt, taught)
    except UnknownConceptError as error:
        faults = tuple(Fault(field="negative_prompt", message=fault.message) for fault in error.faults)
        raise UnknownConceptError(error.detail, faults) from error


async def _queue(work: Work, lineage: Lineage, generation: Generation) -> PlacedJob:
    job = new_job(
        lineage,
        GenerateParams(generation_id=generation.id),
        version_id=generation.version_id,
        result=GenerateResult(generation_id=generation.id),
        total_steps=generation.num_images * generation.steps,
    )
    return await submit_job(work, job)


async def list_generations(session: AsyncSession, user_id: UUID, window: Window) -> Page[GenerationDetails]:
    """The user's generations, newest first."""
    page = await fetch_page(session, generations_of(user_id), Generation, window)
    rows = await session.execute(generation_images([row[0].id for row in page.items]))
    pictures = grouped(rows.all(), lambda row: row[0].generation_id)
    return page.map(lambda row: GenerationDetails(row[0], row[1], row[2], pictures.get(row[0].id, [])))


async def get_generation(session: AsyncSession, user_id: UUID, generation_id: UUID) -> GenerationDetails:
    """One generation.

    Raises:
        NotFoundError: the user has no such generation.
    """
    row = (await session.execute(generations_of(user_id).where(Generation.id == generation_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no generation {generation_id}.")
    pictures = (await session.execute(generation_images([generation_id]))).all()
    return GenerationDetails(row[0], row[1], row[2], [(image, stored) for image, stored in pictures])


async def get_picture(session: AsyncSession, user_id: UUID, generation_id: UUID, position: int) -> StoredObject:
    """The object that holds picture `position`.

    Raises:
        NotFoundError: the user has no such generation, or that picture is not there (yet).
    """
    details = await get_generation(session, user_id, generation_id)
    for image, stored in details.images:
        if image.position == position:
            return stored
    status = details.job.status.value
    raise NotFoundError(f"There is no picture {position} of {details.generation.num_images}; the job is {status}.")


async def delete_generation(session: AsyncSession, user_id: UUID, generation_id: UUID) -> None:
    """Hide the generation, and cancel its job; the sweeper purges it.

    Raises:
        NotFoundError: the user has no such generation.
    """
    # Its lineage first: an erasure there may be about to remove it.
    details = await get_generation(session, user_id, generation_id)
    await lock_lineage(session, user_id, details.generation.lineage_id)
    deleted = await session.scalar(tombstoned(Generation, Generation.id == generation_id))
    if deleted is None:  # Somebody else was faster.
        raise NotFoundError(f"There is no generation {generation_id}.")
    note_deletion(session, user_id, DeletedKind.GENERATION, generation_id)
    await request_cancel(session, works_on(Generation, [generation_id]))
