"""Erasing a concept from every branch: what that takes, told before it starts, and the job that does it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.erasures import erases, family_lineages, family_versions, member, teaches
from app.db.jobs import new_job
from app.db.queries import UNFINISHED
from app.db.references import works_on
from app.db.tables import Concept, Generation, GenerationImage, Job, Lineage, Version
from app.domain.erasure import Affected, EraseMode, affected, insist_on_refold
from app.domain.errors import ConflictError, NotFoundError
from app.domain.jobs import EraseParams
from app.domain.lineages import Provenance
from app.services.context import Work
from app.services.jobs import PlacedJob
from app.services.lineages import lock_lineage
from app.services.submission import submit_job
from app.services.taught_bases import insist_on_base


@dataclass(frozen=True)
class PlannedVersion:
    """A version that goes: without a successor, or to be made again in that many optimizer steps."""

    version: Version
    is_made_again: bool
    steps: int
    seconds: float | None


@dataclass(frozen=True)
class PlannedHead:
    """A lineage whose head moves, and to which number; None where the new head is yet to be made."""

    lineage: Lineage
    number: int
    becomes: int | None


@dataclass(frozen=True)
class ErasurePlan:
    """What erasing makes, redoes and removes."""

    concept: Concept
    mode: EraseMode
    versions: Sequence[PlannedVersion]
    heads: Sequence[PlannedHead]
    generations: int
    pictures: int
    canceled_jobs: int
    kept_for: Sequence[UUID]

    def total_steps(self) -> int:
        """All optimizer steps."""
        return sum(planned.steps for planned in self.versions)

    def estimated_seconds(self) -> float | None:
        """As long as the same versions took before; None where that is not known."""
        seconds = [planned.seconds for planned in self.versions if planned.is_made_again]
        if self.mode is EraseMode.REFOLD:
            return 0.0
        return None if None in seconds else sum(second for second in seconds if second is not None)


async def plan_erasure(
    session: AsyncSession, user_id: UUID, lineage_id: UUID, concept_id: UUID, mode: EraseMode
) -> ErasurePlan:
    """What erasing the concept would do now.

    Raises:
        NotFoundError: the user has no such lineage or concept.
        ConflictError: no branch holds the concept, or images that mode `retrain` needs are deleted.
        InvalidInputError: mode `refold`, and a version has to be trained again.
    """
    await lock_lineage(session, user_id, lineage_id)
    concept = await session.scalar(select(Concept).where(Concept.id == concept_id, Concept.user_id == user_id))
    if concept is None:
        raise NotFoundError(f"There is no concept {concept_id}.")
    versions = {row.id: row for row in await session.scalars(family_versions(lineage_id))}
    lineages = (await session.scalars(family_lineages(lineage_id))).all()
    holding = affected([member(version) for version in versions.values()], concept_id)
    if not holding.gone:
        raise ConflictError(f"Neither this lineage nor a branch of it has learned {concept.name}.")
    remade = [versions[version_id] for version_id in holding.remade]
    if mode is EraseMode.REFOLD:
        insist_on_refold([(version.number, version.strategy) for version in remade])
    else:
        await _insist_on_images(session, remade)
    return ErasurePlan(
        concept=concept,
        mode=mode,
        versions=[_planned(versions[version_id], holding, mode) for version_id in holding.all()],
        heads=[_head(lineage, versions, holding) for lineage in lineages if lineage.head_version_id in holding.all()],
        generations=await _count(session, _generations(holding)),
        pictures=await _count(session, _generations(holding).join(GenerationImage)),
        canceled_jobs=await _count(session, _canceled(lineages, holding, concept_id)),
        kept_for=(await session.scalars(_elsewhere(holding, concept_id))).all(),
    )


async def submit_erasure(work: Work, user_id: UUID, lineage_id: UUID, concept_id: UUID, mode: EraseMode) -> PlacedJob:
    """Queue the job that erases the concept.

    Raises:
        NotFoundError: the user has no such lineage or concept.
        ConflictError: no branch holds the concept, images that are needed are deleted, or it is being erased already.
        InvalidInputError: mode `refold`, and a version has to be trained again.
        QuotaReachedError: the user has too many jobs.
        BaseChangedError: what has to be trained again was taught on other weights than the base has.
    """
    session = work.session
    plan = await plan_erasure(session, user_id, lineage_id, concept_id, mode)
    lineage = await session.get_one(Lineage, lineage_id)
    if mode is EraseMode.RETRAIN:
        await insist_on_base(session, lineage, [planned.version for planned in plan.versions if planned.is_made_again])
    if await session.scalar(select(Job.id).where(Job.status.in_(UNFINISHED), erases(concept_id)).limit(1)):
        raise ConflictError(f"{plan.concept.name} is being erased already.")
    params = EraseParams(concept_id=concept_id, mode=mode)
    return await submit_job(work, new_job(lineage, params, total_steps=plan.total_steps() or 1))


async def _insist_on_images(session: AsyncSession, remade: Sequence[Version]) -> None:
    needed = {version.concept_id for version in remade}
    there = set(await session.scalars(select(Concept.id).where(Concept.id.in_(needed), Concept.deleted_at.is_(None))))
    lost = [str(version.number) for version in remade if version.concept_id not in there]
    if lost:
        detail = f"Versions {', '.join(lost)} cannot be trained again, because their concepts' images are deleted."
        raise ConflictError(f"{detail} Mode refold needs none.")


def _planned(version: Version, holding: Affected, mode: EraseMode) -> PlannedVersion:
    is_made_again = version.id in holding.remade
    if not is_made_again or mode is EraseMode.REFOLD:
        return PlannedVersion(version, is_made_again, 0, 0.0)
    steps = 0 if version.training is None else version.training.steps
    told = version.provenance.training_seconds if isinstance(version.provenance, Provenance) else None
    return PlannedVersion(version, is_made_again, steps, told)


def _head(lineage: Lineage, versions: Mapping[UUID, Version], holding: Affected) -> PlannedHead:
    assert lineage.head_version_id is not None
    stand_in = holding.stand_in(lineage.head_version_id, {})
    becomes = None if stand_in in holding.remade else versions[stand_in].number
    return PlannedHead(lineage, versions[lineage.head_version_id].number, becomes)


async def _count(session: AsyncSession, query: Select[UUID]) -> int:
    return await session.scalar(select(func.count()).select_from(query.subquery())) or 0


def _generations(holding: Affected) -> Select[UUID]:
    return select(Generation.id).where(Generation.version_id.in_(holding.all()), Generation.deleted_at.is_(None))


def _canceled(lineages: Sequence[Lineage], holding: Affected, concept_id: UUID) -> Select[UUID]:
    teaches_it_here = and_(Job.lineage_id.in_([lineage.id for lineage in lineages]), teaches(concept_id))
    hangs_on_it = or_(teaches_it_here, works_on(Version, holding.all()))
    return select(Job.id).where(Job.status.in_(UNFINISHED), hangs_on_it)


def _elsewhere(holding: Affected, concept_id: UUID) -> Select[UUID]:
    """The lineages of another origin that have learned the concept: for them it is kept."""
    learned = Version.lineage_id == Lineage.id, Version.concept_id == concept_id, Version.id.not_in(holding.all())
    return select(Lineage.id).where(exists().where(*learned), Lineage.deleted_at.is_(None))
